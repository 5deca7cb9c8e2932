"""What stands in for the things around a run: a callback that remembers, and records of steps."""

from collections.abc import Callable
from typing import Any

import pytest

from focus_ray.focus.schedule import Schedule
from focus_ray.focus.state import StepMetrics
from focus_ray.runtime.callbacks import Callback
from focus_ray.runtime.step_record import StepRecord


class Listener(Callback):
    """A callback that remembers every event."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        return lambda *arguments: self.heard.append((name, arguments))

    def of(self, what: str) -> list[Any]:
        """The first argument of everything of one kind."""
        return [arguments[0] for kind, arguments in self.heard if kind == what]


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def record_of() -> Callable[..., StepRecord]:
    """Makes the record of a step of a schedule of 20 steps."""
    schedule = Schedule(warmup_steps=2, init_steps=2, pretrain_seg_steps=2, cycles=2, seg_steps=2, face_steps=5)

    def made(step: int, **metrics: Any) -> StepRecord:
        told = StepMetrics(**({"losses": {"total": 1.0 / (1 + step)}, "mask_mean": None, "skipped": False} | metrics))
        return StepRecord(step, schedule.at(step), told, None, 0.25, 0.05, 16.0, 1.8e9 + step)

    return made
