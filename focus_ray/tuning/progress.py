"""What a sweep looks like while it runs: Ray Tune's callbacks as a bar, and a line for each trial that ends."""

from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from focus_ray.tuning.trial import OBJECTIVE, STEP


class Told(Callback):
    """Tells of trials as they end. Tune makes copies of it: it keeps nothing that matters."""

    def __init__(self, total: int, task: Callable[[str, int, int], object], note: Callable[[str], object]) -> None:
        self._total = total
        self._task = task
        self._note = note
        self._ended: set[str] = set()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._task("trials", len(self._ended), self._total)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        last = trial.last_result or {}
        objective = last.get(OBJECTIVE)
        said = "no result" if objective is None else f"objective {objective:.4f} after step {last.get(STEP)}"
        self._end(trial, said)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, "failed")

    def _end(self, trial: Any, said: str) -> None:
        self._ended.add(trial.trial_id)
        self._note(f"trial {trial.trial_id}: {said}")
        self._task("trials", len(self._ended), self._total)

    def get_state(self) -> dict[str, Any] | None:
        return {"ended": sorted(self._ended)}

    def set_state(self, state: dict[str, Any]) -> None:
        self._ended = set(state["ended"])

    def __getstate__(self) -> dict[str, Any]:
        """Without those it tells, who belong to this process."""
        return {"_total": self._total, "_ended": self._ended, "_task": _nobody, "_note": _nobody}


def _nobody(*_: Any) -> None:
    """Nobody is told."""
