"""Quality of a fit: what is measured of each face, the limits of a model, and the flags of a result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from pydantic import ValidationError

from focus_ray.errors import CheckpointError
from focus_ray.model import Model, summarize_error
from focus_ray.settings import Settings

QualityFlag = Literal[
    "small_face",  # fewer pixels in the picture than in the model's crop
    "cut_off",  # part of the face lies outside of the picture
    "landmarks_from_model",  # aligned by landmarks that the model predicted
    "high_residual",  # large colour error over the visible part
    "extreme_pose",  # yaw or pitch larger than in nearly all training images
    "mostly_occluded",  # the mask keeps less than half of the face
    "landmarks_disagree",  # landmarks of the fit far from the detected or given ones
    "poor_first_fit",  # large colour error over the visible part before the refinement
    "low_presence",  # the detector is not sure that there is a face
    "unstable_mask",  # the refinement changed much of the mask
    "unstable_landmarks",  # the model predicts other landmarks in slightly different crops
    "detector_fallback",  # found by a detector that gives neither landmarks nor eyes, nose and mouth
]
QUALITY_FLAGS: tuple[QualityFlag, ...] = get_args(QualityFlag)

GEOMETRY_FLAGS: tuple[QualityFlag, ...] = (
    "high_residual",
    "extreme_pose",
    "landmarks_disagree",
    "poor_first_fit",
    "low_presence",
    "unstable_landmarks",
)
"""Flags that warn of a wrong pose or shape."""

MASK_FLAGS: tuple[QualityFlag, ...] = ("unstable_mask",)
"""Flags that warn of a wrong mask."""

MASK_CHANGE_FLOOR = 0.05
"""Share of the rendered region that is added to the outliers that `mask_change` is relative to."""

QUALITY_FORMAT = 1
"""Format of quality.json."""


@dataclass(frozen=True)
class QualityMeasures:
    """What is measured of the fit of one face. None: not known, or there was no refinement.

    Attributes:
        crop_scale: px of the model's crop per px of the picture.
        outside: share of the rendered region that lies outside of the picture.
        occlusion: occlusion fraction.
        yaw: of the head in the crop, rad.
        pitch: of the head in the crop, rad.
        first_residual: root mean square colour error over the visible part before the refinement, 0 to 255.
        landmarks_from_model: whether the face was aligned by landmarks that the model predicted.
        box_only: whether a detector found the face and gave only its box.
        residual: as `first_residual`, after the refinement.
        first_landmark_distance: mean distance of the landmarks of the first fit from the detected or given ones, over
            sqrt(width x height) of their box.
        landmark_distance: the same after the refinement.
        presence: probability, by the detector, that there is a face.
        mask_change: pixels that the refinement changed from face to outlier or back, over the outliers that are left
            and MASK_CHANGE_FLOOR of the region; inside the region that both fits render.
        view_spread: mean distance of the landmarks that the model predicts in slightly different crops from their
            median, share of the crop's side; None if the landmarks were detected or given.
    """

    crop_scale: float
    outside: float
    occlusion: float
    yaw: float
    pitch: float
    first_residual: float
    landmarks_from_model: bool = False
    box_only: bool = False
    residual: float | None = None
    first_landmark_distance: float | None = None
    landmark_distance: float | None = None
    presence: float | None = None
    mask_change: float | None = None
    view_spread: float | None = None

    @property
    def turn(self) -> float:
        """The larger one of yaw and pitch without their signs, rad."""
        return max(abs(self.yaw), abs(self.pitch))

    @property
    def only_residual(self) -> float | None:
        """The residual of a fit that was not refined; None if it was."""
        return self.first_residual if self.residual is None else None


class QualityLimits(Settings):
    """Limits beyond which a face has a quality flag; None: the measure raises no flag.

    The defaults are those of models without limits of their own (quality.json of the model folder).
    """

    small_face: float | None = 1.0  # px of the crop per px of the picture
    cut_off: float | None = 0.05  # share of the rendered region outside of the picture
    mostly_occluded: float | None = 0.5  # occlusion fraction
    extreme_pose: float | None = 0.8  # rad of yaw or pitch; few synthetic training faces exceed it
    high_residual: float | None = 30.0  # root mean square over visible pixels, of 255
    poor_first_fit: float | None = 50.0  # the same, before the refinement
    landmarks_disagree: float | None = 0.08  # distance from the detected or given landmarks, of the face's size
    first_landmarks_disagree: float | None = 0.09  # the same, before the refinement
    low_presence: float | None = 0.2  # probability, by the detector, that there is a face
    unstable_landmarks: float | None = 0.015  # spread of the model's landmarks, of the crop's side
    unstable_mask: float | None = 1.5  # changed pixels, of the outliers that are left


class LimitRule(NamedTuple):
    """How a limit raises a flag: `measure` beyond the limit.

    Attributes:
        limit: name in QualityLimits.
        flag: what is raised.
        measure: name in QualityMeasures.
        below: whether the flag is raised below the limit, not above it.
    """

    limit: str
    flag: QualityFlag
    measure: str
    below: bool = False

    def value(self, measures: QualityMeasures) -> float | None:
        """Return the value of the measure; None if it is not known."""
        return getattr(measures, self.measure)

    def holds(self, measures: QualityMeasures, limits: QualityLimits) -> bool:
        """Return whether the flag is raised."""
        value, limit = self.value(measures), getattr(limits, self.limit)
        if value is None or limit is None:
            return False
        return value < limit if self.below else value > limit


LIMIT_RULES = (
    LimitRule("small_face", "small_face", "crop_scale"),
    LimitRule("cut_off", "cut_off", "outside"),
    LimitRule("mostly_occluded", "mostly_occluded", "occlusion"),
    LimitRule("extreme_pose", "extreme_pose", "turn"),
    LimitRule("high_residual", "high_residual", "residual"),
    LimitRule("poor_first_fit", "poor_first_fit", "first_residual"),
    LimitRule("landmarks_disagree", "landmarks_disagree", "landmark_distance"),
    LimitRule("first_landmarks_disagree", "landmarks_disagree", "first_landmark_distance"),
    LimitRule("low_presence", "low_presence", "presence", below=True),
    LimitRule("unstable_landmarks", "unstable_landmarks", "view_spread"),
    LimitRule("unstable_mask", "unstable_mask", "mask_change"),
    LimitRule("poor_first_fit", "high_residual", "only_residual"),
)
"""All limits and their flags. A limit can raise more than one flag, and a flag can have more than one limit."""


def quality_flags(measures: QualityMeasures, limits: QualityLimits) -> list[QualityFlag]:
    """Compare the measures of a face with the limits.

    Args:
        measures: what was measured of the face.
        limits: limits of the model.

    Returns:
        The flags that are raised, in the order of QUALITY_FLAGS.
    """
    raised = {rule.flag for rule in LIMIT_RULES if rule.holds(measures, limits)}
    if measures.landmarks_from_model:
        raised.add("landmarks_from_model")
    if measures.box_only:
        raised.add("detector_fallback")
    return [flag for flag in QUALITY_FLAGS if flag in raised]


def model_limits(model: Model) -> QualityLimits:
    """Return the limits of a model: those of its quality.json, else the defaults.

    Raises:
        CheckpointError: quality.json is of another format, or a limit is unknown or not a number.
    """
    return QualityLimits() if model.quality is None else read_limits(model.quality)


def read_limits(content: Mapping[str, Any]) -> QualityLimits:
    """Return the limits in the content of a quality.json.

    Raises:
        CheckpointError: it is of another format, or a limit is unknown or not a number.
    """
    if content.get("format") != QUALITY_FORMAT:
        raise CheckpointError(
            f"quality.json has format {content.get('format')!r}, this version reads {QUALITY_FORMAT}; use the version "
            "that wrote it"
        )
    try:
        return QualityLimits.model_validate(content.get("limits"))
    except ValidationError as error:
        raise CheckpointError(
            f"quality.json: {summarize_error(error)}; calibrate the model again, or use another copy"
        ) from None
