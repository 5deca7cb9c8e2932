"""Record of one training step, a line of history.jsonl."""

import math
from dataclasses import dataclass
from typing import Any

from focus_ray.focus.guard import GuardEvent
from focus_ray.focus.schedule import SchedulePosition
from focus_ray.focus.state import StepMetrics


@dataclass(frozen=True)
class StepRecord:
    """Record of one step."""

    step: int
    position: SchedulePosition
    metrics: StepMetrics
    event: GuardEvent | None
    seconds: float
    data_seconds: float
    images_per_s: float
    time: float  # end of the step, Unix time in s

    def line(self) -> dict[str, Any]:
        """Return the line of history.jsonl. Numbers that are not finite become None."""
        losses = {key: finite(value) for key, value in self.metrics.losses.items()}
        return {
            "step": self.step,
            "phase": str(self.position.phase),
            "loss": losses,
            "mask_mean": finite(self.metrics.mask_mean),
            "skipped": self.metrics.skipped,
            "seconds": round(self.seconds, 6),
            "data_seconds": round(self.data_seconds, 6),
            "images_per_s": round(self.images_per_s, 3),
            "time": round(self.time, 3),
        }


def finite(value: float | None) -> float | None:
    """Return the number, or None if it is not finite."""
    return value if value is not None and math.isfinite(value) else None
