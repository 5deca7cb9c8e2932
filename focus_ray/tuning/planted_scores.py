"""Scores of a model on photographs whose occluders were pasted, so that their pixels are known without labels.

    outlier_iou  IoU of the pixels that masks exclude and the pasted ones, pooled over pictures with an occluder
    false_alarms mean share of the rendered region that masks exclude, photographs of open faces, nothing pasted
    landmark_px  mean error of the 68 landmarks on pictures with an occluder, px at 224
    score        outlier_iou - false_alarms

What the persons wear themselves is unknown: a mask that excludes their glasses loses a little outlier_iou. It is no
false alarm, as long as the photographs have attributes (data.picture_attributes), which say whose face is open.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch

from focus_ray.data.augment import AugmentSettings
from focus_ray.data.cache import CachedFaces
from focus_ray.data.composites.planted import PlantedConfig, PlantedPhotos
from focus_ray.data.photo_split import PhotoSubset
from focus_ray.data.picture_attributes import read_attributes, select_open
from focus_ray.data.sample import Batch, FaceDataset
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.metrics import ImageScores, summarise
from focus_ray.focus.refine import RefineSettings
from focus_ray.training.heldout_scoring import Scorer, score_fit

_BATCH_SIZE = 35
_ALWAYS = PlantedConfig(share=1.0)
_NO_AUGMENTATION = AugmentSettings(flip=0, shift=0, scale=0, rotation=0)

Figures = dict[str, float | None]


class Pictures(Protocol):
    """Pictures that models are scored on: planted ones, and open faces."""

    @property
    def planted(self) -> FaceDataset:
        """Pictures with `planted`, numbered from 0."""
        ...

    @property
    def count(self) -> int:
        """Number of planted pictures."""
        ...

    @property
    def open_faces(self) -> FaceDataset:
        """Pictures in which nothing hides the face."""
        ...

    @property
    def open_numbers(self) -> Sequence[int]:
        """Numbers of the pictures of `open_faces` that count."""
        ...


class PlantedPictures:
    """Pictures made of photographs. They depend on photographs, number and seed only, and are cached.

    Args:
        photos: photographs.
        count: number of pictures with occluders; each pass over the photographs has other occluders.
        seed: seed of the occluders.
    """

    def __init__(self, photos: PhotoSubset, count: int, seed: int) -> None:
        self.planted = CachedFaces(PlantedPhotos(photos, _ALWAYS, _NO_AUGMENTATION, seed))
        self.count = count
        self.open_faces = photos
        self.open_numbers = list_open(photos)


def list_open(photos: PhotoSubset) -> list[int]:
    """Return the indices of the photographs of open faces; all, if none of them is listed as open.

    Args:
        photos: photographs; the package has attributes of the public-domain portraits.
    """
    names = [photos.photos.names[number] for number in photos.numbers]
    attributes = read_attributes() if photos.photos.portraits else {}
    opened = set(select_open(names, attributes) or names)
    return [index for index, name in enumerate(names) if name in opened]


def score_planted(
    focus: Focus, pictures: Pictures, settings: RefineSettings, variants: Sequence[str] = ("focus",)
) -> dict[str, Figures]:
    """Score a model.

    Args:
        focus: networks, put in eval mode.
        pictures: pictures to score it on.
        settings: settings of the refinement.
        variants: "focus" for one pass, "refined" for fits that are refined under the model's own mask.

    Returns:
        The figures by variant; None where a figure has no pixel to count.
    """
    scorer = Scorer(focus, settings)
    hidden = _scores(scorer, pictures.planted, range(pictures.count), variants)
    seen = _scores(scorer, pictures.open_faces, pictures.open_numbers, variants)
    return {name: _figures(hidden[name], seen[name]) for name in variants}


def _scores(
    scorer: Scorer, faces: FaceDataset, numbers: Sequence[int], variants: Sequence[str]
) -> dict[str, ImageScores]:
    """A row for each picture, by variant."""
    parts: dict[str, list[ImageScores]] = {name: [] for name in variants}
    for start in range(0, len(numbers), _BATCH_SIZE):
        batch = _with_masks(faces.batch(list(numbers[start : start + _BATCH_SIZE]))).to(scorer.device)
        for name, fit in scorer.fits(batch, tuple(variants)):
            parts[name].append(score_fit(scorer.focus, batch, fit))
    return {name: ImageScores.merge(rows) for name, rows in parts.items()}


def _with_masks(batch: Batch) -> Batch:
    """Take everything that is not planted for visible."""
    masks = torch.ones_like(batch.images[:, :1]) if batch.planted is None else 1 - batch.planted
    return replace(batch, masks=masks)


def _figures(hidden: ImageScores, seen: ImageScores) -> Figures:
    planted, opened = summarise(hidden), summarise(seen)
    iou, coverage = planted["outlier_iou"], opened["mask_coverage"]
    false_alarms = None if coverage is None else 1 - coverage
    return {
        "score": None if iou is None or false_alarms is None else iou - false_alarms,
        "outlier_iou": iou,
        "false_alarms": false_alarms,
        "landmark_px": planted["landmark_px"],
    }
