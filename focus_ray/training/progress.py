"""What a run tells while it runs; the command line draws it, everything else stays silent."""

from typing import Protocol, runtime_checkable

from focus_ray.training.loop import StepRecord


@runtime_checkable
class Progress(Protocol):
    """Somebody who watches a run."""

    def begin(self, total: int, done: int) -> None:
        """Training starts at step `done` of `total`."""
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


class Silent:
    """Nobody watches."""

    def begin(self, total: int, done: int) -> None: ...

    def step(self, record: StepRecord) -> None: ...

    def task(self, name: str, done: int, total: int) -> None: ...

    def note(self, message: str) -> None: ...
