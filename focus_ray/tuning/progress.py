"""Progress of a sweep: Ray Tune callbacks as a bar, and a line for each finished trial."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ray.tune import Callback

from focus_ray.tuning.space import Point
from focus_ray.tuning.trial import ENDING, OBJECTIVE, STEP


def _ignore(*_: Any) -> None:
    """Ignore the report."""


class Listener(NamedTuple):
    """Callbacks of this process for the progress of a sweep."""

    task: Callable[[str, int, int], object] = _ignore
    note: Callable[[str], object] = _ignore
    name: Callable[[Point, str], str] = lambda _, trial_id: trial_id  # name of a trial, from its point and id


_listener = Listener()


@contextmanager
def use_listener(listener: Listener) -> Iterator[None]:
    """Set the listener of every `TuneProgress` of this process, unpickled ones included, within a `with` block."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


class TuneProgress(Callback):
    """Ray Tune callback that reports finished trials. Tune pickles it; the listener is not pickled.

    Args:
        total: number of trials of the sweep.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._ended: set[str] = set()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        _listener.task("trials", len(self._ended), self._total)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, describe_result(trial.last_result or {}))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, "failed")

    def _end(self, trial: Any, ending: str) -> None:
        self._ended.add(trial.trial_id)
        _listener.note(f"trial {_listener.name(trial.config, trial.trial_id)}: {ending}")
        _listener.task("trials", len(self._ended), self._total)

    def get_state(self) -> dict[str, Any] | None:
        return {"ended": sorted(self._ended)}

    def set_state(self, state: dict[str, Any]) -> None:
        self._ended = set(state["ended"])


def describe_result(last: dict[str, Any]) -> str:
    """Describe how a trial ended by its last report; without an entry `ending` it was pruned."""
    objective, ending = last.get(OBJECTIVE), last.get(ENDING, "pruned")
    if objective is None:
        return "no result"
    if ending in ("nan", "collapsed"):  # the objective is a placeholder, not measured at a step
        return ending
    reached = f"objective {objective:.4f} after step {last.get(STEP)}"
    return reached if ending == "done" else f"{ending}, {reached}"


Told = TuneProgress  # earlier name of the class, used in Tune's pickles of older sweeps
