"""What a run tells while it runs, and to whom: the terminal, the run folder, a driver on another machine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from focus_ray.runtime.step_record import StepRecord


@dataclass(frozen=True)
class ResumeHistory:
    """What a checkpoint knows of the steps before it."""

    recent: list[dict[str, Any]] = field(default_factory=list)  # history.jsonl since the checkpoint before, or longer
    evaluations: list[dict[str, Any]] = field(default_factory=list)  # all there were


@runtime_checkable
class Callback(Protocol):
    """Somebody who watches a run. Nothing a watcher is told comes twice, except after `begin` with an earlier step."""

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        """Training starts, or starts again after a failure, at step `done` of `total`."""
        ...

    def on_step_end(self, record: StepRecord) -> None:
        """A step was taken."""
        ...

    def on_progress(self, name: str, done: int, total: int) -> None:
        """Work beside the steps, such as scoring, got to `done` of `total`."""
        ...

    def on_message(self, message: str) -> None:
        """Something worth a line."""
        ...

    def on_evaluate(self, entry: dict[str, Any]) -> None:
        """The model was scored: step, after which phase, figures."""
        ...

    def on_image(self, name: str, png: bytes) -> None:
        """A contact sheet was drawn."""
        ...

    def on_save(self, step: int) -> None:
        """The checkpoint of a step is whole where it belongs."""
        ...

    def on_log(self, entry: dict[str, Any]) -> None:
        """A line of the log: time, level, rank, step, logger, message."""
        ...


class NoOpCallback:
    """Nobody watches. Also the start of watchers who only look at some things."""

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None: ...

    def on_step_end(self, record: StepRecord) -> None: ...

    def on_progress(self, name: str, done: int, total: int) -> None: ...

    def on_message(self, message: str) -> None: ...

    def on_evaluate(self, entry: dict[str, Any]) -> None: ...

    def on_image(self, name: str, png: bytes) -> None: ...

    def on_save(self, step: int) -> None: ...

    def on_log(self, entry: dict[str, Any]) -> None: ...


class CallbackList:
    """All of them watch, in this order."""

    def __init__(self, callbacks: Sequence[Callback]):
        self.callbacks = callbacks

    def on_train_begin(self, total: int, done: int, history: ResumeHistory) -> None:
        for watcher in self.callbacks:
            watcher.on_train_begin(total, done, history)

    def on_step_end(self, record: StepRecord) -> None:
        for watcher in self.callbacks:
            watcher.on_step_end(record)

    def on_progress(self, name: str, done: int, total: int) -> None:
        for watcher in self.callbacks:
            watcher.on_progress(name, done, total)

    def on_message(self, message: str) -> None:
        for watcher in self.callbacks:
            watcher.on_message(message)

    def on_evaluate(self, entry: dict[str, Any]) -> None:
        for watcher in self.callbacks:
            watcher.on_evaluate(entry)

    def on_image(self, name: str, png: bytes) -> None:
        for watcher in self.callbacks:
            watcher.on_image(name, png)

    def on_save(self, step: int) -> None:
        for watcher in self.callbacks:
            watcher.on_save(step)

    def on_log(self, entry: dict[str, Any]) -> None:
        for watcher in self.callbacks:
            watcher.on_log(entry)
