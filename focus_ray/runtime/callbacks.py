"""Callbacks of a training run: terminal progress, run folder, event queue to the driver."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from focus_ray.runtime.step_record import StepRecord


@dataclass(frozen=True)
class ResumeHistory:
    """Steps and evaluations before a checkpoint."""

    recent: list[dict[str, Any]] = field(default_factory=list)  # history.jsonl since the checkpoint before, or longer
    evaluations: list[dict[str, Any]] = field(default_factory=list)  # all there were


@runtime_checkable
class Callback(Protocol):
    """Receives the events of a run, each once; after a failure training begins again at an earlier step."""

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        """Training starts, or starts again after a failure, at step `done` of `total`."""
        ...

    def on_step_end(self, record: StepRecord) -> None:
        """A step was taken."""
        ...

    def on_progress(self, name: str, done: int, total: int) -> None:
        """Progress of other work, such as scoring: `done` of `total`."""
        ...

    def on_message(self, message: str) -> None:
        """A message for the user."""
        ...

    def on_evaluate(self, entry: dict[str, Any]) -> None:
        """The model was scored: step, after which phase, figures."""
        ...

    def on_image(self, name: str, png: bytes) -> None:
        """A contact sheet was drawn."""
        ...

    def on_save(self, step: int) -> None:
        """The checkpoint of a step is complete in its store."""
        ...

    def on_log(self, entry: dict[str, Any]) -> None:
        """A line of the log: time, level, rank, step, logger, message."""
        ...


class NoOpCallback:
    """Ignores every event. Base class of callbacks that need a few of them."""

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None: ...

    def on_step_end(self, record: StepRecord) -> None: ...

    def on_progress(self, name: str, done: int, total: int) -> None: ...

    def on_message(self, message: str) -> None: ...

    def on_evaluate(self, entry: dict[str, Any]) -> None: ...

    def on_image(self, name: str, png: bytes) -> None: ...

    def on_save(self, step: int) -> None: ...

    def on_log(self, entry: dict[str, Any]) -> None: ...


class CallbackList:
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
