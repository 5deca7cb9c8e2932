"""Watches the masks for collapse and the losses for NaN, and says what to do about them.

Left alone, the segmenter's losses have two trivial minima: everything is outlier (the area weight too small for the
residual) and everything is face (too large). Both look like falling losses, so the mean mask itself is watched.
Photographs without occlusion have honest masks of nearly all face: such masks are a collapse only where they keep the
pixels that the fit explains worst as well, those with a colour error beyond four times the mean of the batch. Where no
pixel is that far off, full masks are honest: nothing is explained badly enough to be left out. The rule does not see an
occluder that itself makes most of the mean: at most a quarter of all rendered pixels can be beyond four means.
"""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import Field

from focus_ray.errors import MaskCollapse, NonFiniteLoss
from focus_ray.settings import Settings

Action = Literal["stop", "restore", "recalibrate"]


class GuardSettings(Settings):
    """Limits on mask means and non-finite losses, and the action when one is exceeded."""

    low: float = Field(default=0.02, ge=0, lt=1)  # mean mask inside the rendered region, over a window
    high: float = Field(default=0.98, gt=0, le=1)  # of the mean mask and of that over the worst explained pixels
    window: int = Field(default=20, gt=0)  # steps of the segmenter
    action: Action = "recalibrate"
    max_events: int = Field(default=5, gt=0)  # then the run stops: the action does not help
    max_nonfinite: int = Field(default=10, gt=0)  # steps in a row without a finite loss


@dataclass(frozen=True)
class GuardEvent:
    """One intervention, as it is recorded in `metrics.json`."""

    step: int
    mask_mean: float
    kind: Literal["all_outlier", "all_face"]
    action: Action


class Guard:
    """Remembers the last window of mask means and the non-finite steps in a row. Its state travels in checkpoints."""

    def __init__(self, settings: GuardSettings):
        self.settings = settings
        self.window: deque[float] = deque(maxlen=settings.window)
        self.unexplained: deque[float] = deque(maxlen=settings.window)
        self.events: list[GuardEvent] = []
        self.nonfinite_in_a_row = 0
        self.nonfinite_total = 0

    def in_bounds(self, mask_mean: float, unexplained: float | None = None) -> bool:
        """Whether masks are neither all outlier nor all face.

        unexplained: the mean mask over the pixels that the fit explains worst (StepMetrics); None: not known, and the
        mean mask alone decides.
        """
        lowest = mask_mean if unexplained is None else min(mask_mean, unexplained)
        return mask_mean >= self.settings.low and lowest <= self.settings.high

    def observe_mask(self, step: int, mask_mean: float, unexplained: float | None = None) -> GuardEvent | None:
        """Record one step's mean mask, and that over the worst explained pixels; an event when the window's means are
        not allowed.

        Raises MaskCollapse where the action is to stop, or where the action was taken too often to believe in it.
        """
        self.window.append(mask_mean)
        self.unexplained.append(mask_mean if unexplained is None else unexplained)
        if len(self.unexplained) < self.settings.window:
            return None
        mean = sum(self.window) / len(self.window)
        if self.in_bounds(mean, sum(self.unexplained) / len(self.unexplained)):
            return None
        event = GuardEvent(step, mean, "all_outlier" if mean < self.settings.low else "all_face", self.settings.action)
        self.events.append(event)
        self.window.clear()
        self.unexplained.clear()
        if event.action == "stop" or len(self.events) > self.settings.max_events:
            raise MaskCollapse(
                f"step {step}: the masks collapsed to {event.kind.replace('_', ' ')} (mean {mean:.3f} over "
                f"{self.settings.window} steps); raise or lower the area weight, or set guard.action to recalibrate"
            )
        return event

    def observe_loss(self, step: int, finite: bool) -> None:
        """Count a step; raises NonFiniteLoss after too many in a row without a finite loss."""
        if finite:
            self.nonfinite_in_a_row = 0
            return
        self.nonfinite_total += 1
        self.nonfinite_in_a_row += 1
        if self.nonfinite_in_a_row >= self.settings.max_nonfinite:
            raise NonFiniteLoss(
                f"step {step}: {self.nonfinite_in_a_row} steps in a row had no finite loss; lower the learning rate or "
                "check the data, then resume from the last checkpoint"
            )

    def state_dict(self) -> dict:
        """Everything a resumed run must know."""
        return {
            "window": list(self.window),
            "unexplained": list(self.unexplained),
            "events": [asdict(event) for event in self.events],
            "nonfinite_in_a_row": self.nonfinite_in_a_row,
            "nonfinite_total": self.nonfinite_total,
        }

    def load_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`."""
        self.window = deque(state["window"], maxlen=self.settings.window)
        # Older checkpoints do not have it; there the mean mask alone decided.
        self.unexplained = deque(state.get("unexplained", state["window"]), maxlen=self.settings.window)
        self.events = [GuardEvent(**event) for event in state["events"]]
        self.nonfinite_in_a_row = state["nonfinite_in_a_row"]
        self.nonfinite_total = state["nonfinite_total"]
