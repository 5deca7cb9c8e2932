"""Callbacks of a training run: terminal progress, run folder, event queue to the driver."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from focus_ray.runtime.step_record import StepRecord


@dataclass(frozen=True)
class ResumeHistory:
    """Steps and evaluations before a checkpoint."""

    recent: list[dict[str, Any]] = field(default_factory=list)  # history.jsonl since the checkpoint before, or longer
    evaluations: list[dict[str, Any]] = field(default_factory=list)  # all there were


class Callback:
    """Receives the events of a run, each once; after a failure training begins again at an earlier step.

    This class ignores every event: subclasses override the methods that they need.
    """

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        """Training starts, or starts again after a failure, at step `done` of `total`."""

    def on_step_end(self, record: StepRecord) -> None:
        """A step was taken."""

    def on_progress(self, name: str, done: int, total: int) -> None:
        """Other work, such as scoring, has reached `done` of `total`."""

    def on_message(self, message: str) -> None:
        """There is a message for the user."""

    def on_evaluate(self, entry: dict[str, Any]) -> None:
        """The model was scored: step, phase before it, figures."""

    def on_image(self, name: str, png: bytes) -> None:
        """A contact sheet was drawn."""

    def on_save(self, step: int) -> None:
        """The checkpoint of a step is complete in its store."""

    def on_log(self, entry: dict[str, Any]) -> None:
        """The run logged a line: time, level, rank, step, logger, message."""


class CallbackList(Callback):
    """Several callbacks, called in order."""

    def __init__(self, callbacks: Sequence[Callback]):
        self.callbacks = callbacks

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        for callback in self.callbacks:
            callback.on_train_begin(total, done, history)

    def on_step_end(self, record: StepRecord) -> None:
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
