"""Checks of the masks for collapse and of the losses for NaN, and the reaction to them.

The segmenter's losses have two trivial minima: everything is outlier (the area weight too small for the residual) and
everything is face (too large). In both the losses fall, so the guard checks the mean mask itself. Photographs without
occlusion rightly have masks of nearly all face. Such masks are a collapse only if they also keep the worst explained
pixels: those with a colour error beyond four times the mean of the batch. If there is no such pixel, full masks are
correct: no pixel is explained badly enough to be left out. The rule does not detect an occluder that itself makes most
of the mean: at most a quarter of all rendered pixels can be beyond four means.
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
    max_events: int = Field(default=5, gt=0)  # beyond this number the run stops: the action does not help
    max_nonfinite: int = Field(default=10, gt=0)  # steps in a row without a finite loss


@dataclass(frozen=True)
class GuardEvent:
    """One intervention, as recorded in `metrics.json`."""

    step: int
    mask_mean: float
    kind: Literal["all_outlier", "all_face"]
    action: Action


class Guard:
    """Checks mean masks over a window and counts non-finite steps in a row. Checkpoints include its state."""

    def __init__(self, settings: GuardSettings):
        self.settings = settings
        self.window: deque[float] = deque(maxlen=settings.window)
        self.unexplained: deque[float] = deque(maxlen=settings.window)
        self.events: list[GuardEvent] = []
        self.nonfinite_in_a_row = 0
        self.nonfinite_total = 0

    def in_bounds(self, mask_mean: float, unexplained: float | None = None) -> bool:
        """Return whether masks are neither all outlier nor all face.

        Args:
            mask_mean: mean mask over the rendered pixels.
            unexplained: mean mask over the worst explained pixels (StepMetrics); None: unknown, only `mask_mean` is
                checked.
        """
        lowest = mask_mean if unexplained is None else min(mask_mean, unexplained)
        return mask_mean >= self.settings.low and lowest <= self.settings.high

    def observe_mask(self, step: int, mask_mean: float, unexplained: float | None = None) -> GuardEvent | None:
        """Record the mean masks of one step.

        Args:
            step: global step.
            mask_mean: mean mask over the rendered pixels.
            unexplained: mean mask over the worst explained pixels; None: unknown.

        Returns:
            An event if the means over the window are out of bounds, else None.

        Raises:
            MaskCollapse: the means are out of bounds, and the action is to stop or was taken more than `max_events`
                times.
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
        """Count a step with or without a finite loss.

        Raises:
            NonFiniteLoss: too many steps in a row had no finite loss.
        """
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
        """Return the state that a resumed run needs."""
        return {
            "window": list(self.window),
            "unexplained": list(self.unexplained),
            "events": [asdict(event) for event in self.events],
            "nonfinite_in_a_row": self.nonfinite_in_a_row,
            "nonfinite_total": self.nonfinite_total,
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore the state that `state_dict` returned."""
        self.window = deque(state["window"], maxlen=self.settings.window)
        # Older checkpoints lack this key; they were made when the mean mask alone decided.
        self.unexplained = deque(state.get("unexplained", state["window"]), maxlen=self.settings.window)
        self.events = [GuardEvent(**event) for event in state["events"]]
        self.nonfinite_in_a_row = state["nonfinite_in_a_row"]
        self.nonfinite_total = state["nonfinite_total"]
