"""Alignment of a face without given landmarks: from the detector's box, then by the model's own landmarks in rounds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Tensor

from focus_ray.data.align import (
    REFERENCE_CENTRE,
    REFERENCE_SCALE,
    REFERENCE_SIZE,
    Crop,
    as_float,
    compose,
    crop_from_five_points,
    crop_from_landmarks,
    resize_transform,
    rotation_transform,
    transform_points,
)
from focus_ray.data.augment import Augmentation, AugmentSettings, draw_augmentation
from focus_ray.data.detectors.detection import Detection
from focus_ray.errors import LandmarkError
from focus_ray.settings import Settings


class AlignmentSettings(Settings):
    """How a box becomes a crop, and limits of the crop's motion during self-alignment."""

    # Measured on the Haar boxes of 16 photographs with landmarks: side 1.71 +- 0.08 standard units (of about 100 mm),
    # origin of the standard face 0.05 +- 0.02 of the side below the middle.
    box_units: float = Field(default=1.71, gt=0)
    box_drop: float = 0.05
    rounds: int = Field(default=2, ge=0)
    box_rounds: int = Field(default=4, ge=0)  # for a box drawn by a person, which may be much too large or off-centre
    jittered_views: int = Field(default=6, ge=0)
    jitter: AugmentSettings = AugmentSettings(shift=5.0, scale=0.05, rotation=5.0)
    furthest: float = Field(default=0.3, gt=0)  # of the standard face's size (two units), from the first crop's middle
    scales: tuple[float, float] = (0.7, 1.4)  # relative to the first crop's scale
    turn: float = Field(default=0.6, gt=0)  # rad, from the first crop's roll


DEFAULT_ALIGNMENT = AlignmentSettings()

_NO_JITTER = AugmentSettings(shift=0.0, scale=0.0, rotation=0.0)


class AlignedFace(NamedTuple):
    """A crop, and the 68 landmarks that the model predicts in it or that were given.

    Attributes:
        crop: aligned crop.
        landmarks: px of the image.
        spread: mean distance of the landmarks that the model predicts in slightly different crops from `landmarks`,
            their median, share of the crop's side; None if the landmarks were given.
    """

    crop: Crop
    landmarks: Float[np.ndarray, "68 2"]
    spread: float | None = None


class ViewLandmarks(NamedTuple):
    """The landmarks that the model predicts in slightly different crops of a face [px of the image]."""

    median: Float[np.ndarray, "68 2"]
    distance: float  # mean distance of the views' landmarks from the median


class CropView(NamedTuple):
    """An image and a crop of it."""

    image: UInt8[np.ndarray, "H W 3"]
    crop: Crop


def crop_from_detection(face: Detection, size: int, settings: AlignmentSettings = DEFAULT_ALIGNMENT) -> Crop:
    """Return the initial crop: from the detector's landmarks if it gives any, else from the box of a Haar detector.

    Args:
        face: the detection, px of the image.
        size: side of the crop, px.
        settings: how a box becomes a crop.

    Raises:
        LandmarkError: the landmarks are degenerate, so that no crop can be aligned to them.
    """
    if face.landmarks is not None:
        return crop_from_landmarks(face.landmarks, size)
    if face.five_points is not None:
        return crop_from_five_points(face.five_points, size)
    upright = rotation_transform(-face.roll)
    origin = transform_points(upright, face.centre) + np.array([0.0, settings.box_drop * face.side])
    zoom = REFERENCE_SCALE * settings.box_units / face.side
    to_reference = np.array([[zoom, 0.0, 0.0], [0.0, zoom, 0.0]])
    to_reference[:, 2] = REFERENCE_CENTRE - zoom * origin
    return Crop(compose(resize_transform(REFERENCE_SIZE, size), compose(to_reference, upright)), size)


def extract_crops(image: UInt8[np.ndarray, "H W 3"], crops: Sequence[Crop]) -> Float[Tensor, "B 3 S S"]:
    """Extract crops of an image as network input.

    Args:
        image: RGB.
        crops: crops of one size.

    Returns:
        RGB in [0, 1].
    """
    return torch.stack([torch.from_numpy(as_float(crop.warp(image))) for crop in crops])


def self_align(
    landmark_fn: Callable[[Tensor], Tensor],
    crop_views: Sequence[CropView],
    settings: AlignmentSettings = DEFAULT_ALIGNMENT,
) -> list[AlignedFace]:
    """Align crops by the landmarks that the model predicts in them, for `rounds` rounds.

    A crop that would move, grow or turn too far from its start is not moved: such a prediction is taken to be wrong.

    Args:
        landmark_fn: maps crops [B, 3, S, S] to their landmarks [B, 68, 2] in px of the crops.
        crop_views: images and initial crops.
        settings: rounds, views and limits.

    Returns:
        The final crops and the landmarks predicted in them.
    """
    current = list(crop_views)
    for _ in range(settings.rounds):
        for place, (points, _) in enumerate(predict_landmarks(landmark_fn, current, settings)):
            first = crop_views[place].crop
            moved = _realign(points, first.size)
            if moved is not None and _is_plausible(moved, first, settings):
                current[place] = CropView(crop_views[place].image, moved)
    seen = predict_landmarks(landmark_fn, current, settings)
    return [
        AlignedFace(look.crop, points, distance * look.crop.scale / look.crop.size)
        for look, (points, distance) in zip(current, seen, strict=True)
    ]


def predict_landmarks(
    landmark_fn: Callable[[Tensor], Tensor],
    crop_views: Sequence[CropView],
    settings: AlignmentSettings = DEFAULT_ALIGNMENT,
) -> list[ViewLandmarks]:
    """Predict landmarks as the median over slightly different views of each crop.

    Args:
        landmark_fn: maps crops [B, 3, S, S] to their landmarks [B, 68, 2] in px of the crops.
        crop_views: images and crops.
        settings: number and jitter of the views.

    Returns:
        The landmarks of each crop.
    """
    if not crop_views:
        return []
    views = [
        [(view, view.crop(look.crop)) for view in _jittered_views(look.crop.size, settings)] for look in crop_views
    ]
    shown = [
        extract_crops(look.image, [crop for _, crop in of_one]) for look, of_one in zip(crop_views, views, strict=True)
    ]
    points = iter(landmark_fn(torch.cat(shown)).double().numpy())
    places = [[crop.to_image(view.reorder(next(points))) for view, crop in of_one] for of_one in views]
    return [_summarise_views(np.stack(of_one)) for of_one in places]


def _summarise_views(points: Float[np.ndarray, "V 68 2"]) -> ViewLandmarks:
    median = np.median(points, axis=0)
    return ViewLandmarks(median, float(np.linalg.norm(points - median, axis=-1).mean()))


def _jittered_views(size: int, settings: AlignmentSettings) -> list[Augmentation]:
    """Return the crop itself, its mirror image, and jittered views, half of them mirrored; the same for every face."""
    rng = np.random.default_rng(0)
    kinds = [_NO_JITTER] * 2 + [settings.jitter] * settings.jittered_views
    return [
        draw_augmentation(rng, size, kind.model_copy(update={"flip": float(number % 2)}))
        for number, kind in enumerate(kinds)
    ]


def _realign(landmarks: Float[np.ndarray, "68 2"], size: int) -> Crop | None:
    try:
        return crop_from_landmarks(landmarks, size)
    except LandmarkError:
        return None


def _is_plausible(crop: Crop, first: Crop, settings: AlignmentSettings) -> bool:
    middle = np.array([(crop.size - 1) / 2.0, (crop.size - 1) / 2.0])
    away = float(np.linalg.norm(first.to_crop(crop.to_image(middle)) - middle))
    face = 2.0 * REFERENCE_SCALE * crop.size / REFERENCE_SIZE
    turned = abs((crop.roll - first.roll + np.pi) % (2 * np.pi) - np.pi)
    low, high = settings.scales
    return away < settings.furthest * face and low < crop.scale / first.scale < high and turned < settings.turn
