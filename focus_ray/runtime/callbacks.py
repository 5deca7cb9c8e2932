"""Callbacks of a training run: terminal progress, run folder, event queue to the driver."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it imports torch, which a display of progress does not need
    from focus_ray.runtime.step_record import StepRecord


@dataclass(frozen=True)
class ResumeHistory:
    """Steps and evaluations before a checkpoint."""

    recent: list[dict[str, Any]] = field(
        default_factory=list
    )  # lines of history.jsonl, at least since the last checkpoint
    evaluations: list[dict[str, Any]] = field(default_factory=list)  # all of the run


class Callback:
    """Receives the events of a run, each once; after a failure training restarts at an earlier step.

    The base class ignores all events: subclasses override the methods that they need.
    """

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        """Training starts, or restarts after a failure.

        Args:
            total: number of steps of the run.
            done: number of steps already taken.
            history: steps and evaluations before `done`.
        """

    def on_step_end(self, record: "StepRecord") -> None:
        """A step was taken."""

    def on_progress(self, name: str, done: int, total: int) -> None:
        """Other work, such as scoring, has finished `done` of `total` units."""

    def on_message(self, message: str) -> None:
        """A message for the user, one line."""

    def on_evaluate(self, entry: dict[str, Any]) -> None:
        """The model was scored; `entry` has the step, the phase before it and the figures."""

    def on_image(self, name: str, png: bytes) -> None:
        """A contact sheet was drawn; `name` is its file name."""

    def on_save(self, step: int) -> None:
        """The checkpoint of a step is complete in its store."""

    def on_log(self, entry: dict[str, Any]) -> None:
        """A line was logged; `entry` has time, level, rank, step, logger and message."""


class CallbackList(Callback):
    """Several callbacks, called in order."""

    def __init__(self, callbacks: Sequence[Callback]):
        self.callbacks = callbacks

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        for callback in self.callbacks:
            callback.on_train_begin(total, done, history)

    def on_step_end(self, record: "StepRecord") -> None:
        for callback in self.callbacks:
            callback.on_step_end(record)

    def on_progress(self, name: str, done: int, total: int) -> None:
        for callback in self.callbacks:
            callback.on_progress(name, done, total)

    def on_message(self, message: str) -> None:
        for callback in self.callbacks:
            callback.on_message(message)

    def on_evaluate(self, entry: dict[str, Any]) -> None:
        for callback in self.callbacks:
            callback.on_evaluate(entry)

    def on_image(self, name: str, png: bytes) -> None:
        for callback in self.callbacks:
            callback.on_image(name, png)

    def on_save(self, step: int) -> None:
        for callback in self.callbacks:
            callback.on_save(step)

    def on_log(self, entry: dict[str, Any]) -> None:
        for callback in self.callbacks:
            callback.on_log(entry)
