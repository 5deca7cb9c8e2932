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

    def begin(self, total: int, done: int, past: ResumeHistory) -> None:
        """Training starts, or starts again after a failure, at step `done` of `total`."""
        ...

    def step(self, record: StepRecord) -> None:
        """A step was taken."""
        ...

    def task(self, name: str, done: int, total: int) -> None:
        """Work beside the steps, such as scoring, got to `done` of `total`."""
        ...

    def note(self, message: str) -> None:
        """Something worth a line."""
        ...

    def evaluated(self, entry: dict[str, Any]) -> None:
        """The model was scored: step, after which phase, figures."""
        ...

    def picture(self, name: str, png: bytes) -> None:
        """A contact sheet was drawn."""
        ...

    def saved(self, step: int) -> None:
        """The checkpoint of a step is whole where it belongs."""
        ...

    def log(self, entry: dict[str, Any]) -> None:
        """A line of the log: time, level, rank, step, logger, message."""
        ...


class NoOpCallback:
    """Nobody watches. Also the start of watchers who only look at some things."""

    def begin(self, total: int, done: int, past: ResumeHistory) -> None: ...

    def step(self, record: StepRecord) -> None: ...

    def task(self, name: str, done: int, total: int) -> None: ...

    def note(self, message: str) -> None: ...

    def evaluated(self, entry: dict[str, Any]) -> None: ...

    def picture(self, name: str, png: bytes) -> None: ...

    def saved(self, step: int) -> None: ...

    def log(self, entry: dict[str, Any]) -> None: ...


class CallbackList:
    """All of them watch, in this order."""

    def __init__(self, watchers: Sequence[Callback]):
        self.watchers = watchers

    def begin(self, total: int, done: int, past: ResumeHistory) -> None:
        for watcher in self.watchers:
            watcher.begin(total, done, past)

    def step(self, record: StepRecord) -> None:
        for watcher in self.watchers:
            watcher.step(record)

    def task(self, name: str, done: int, total: int) -> None:
        for watcher in self.watchers:
            watcher.task(name, done, total)

    def note(self, message: str) -> None:
        for watcher in self.watchers:
            watcher.note(message)

    def evaluated(self, entry: dict[str, Any]) -> None:
        for watcher in self.watchers:
            watcher.evaluated(entry)

    def picture(self, name: str, png: bytes) -> None:
        for watcher in self.watchers:
            watcher.picture(name, png)

    def saved(self, step: int) -> None:
        for watcher in self.watchers:
            watcher.saved(step)

    def log(self, entry: dict[str, Any]) -> None:
        for watcher in self.watchers:
            watcher.log(entry)
