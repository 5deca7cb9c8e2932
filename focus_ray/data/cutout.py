"""Occlusion by augmentation, for the supervised baselines (section 4.1): parts of the pictures are cut out.

What is cut out is no face: the masks say so. An augmentation is a function of (seed, step, number of the face).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from focus_ray.data.sample import Batch, FaceDataset

CutKind = Literal["cutout", "cutmix"]

_STREAM = 3  # keeps these random numbers apart from every other use of the run's seed
_SIDE = 0.5  # of the picture: cutout's square (DeVries and Taylor 2017 cut half of CIFAR's side)
_GREY = 0.5


def cut_out(
    batch: Batch, kind: CutKind, faces: FaceDataset, size: int, seed: int, step: int, numbers: Sequence[int]
) -> Batch:
    """The batch of these numbers at a step, a part of each picture cut out.

    cutout: a grey square of half the side, its centre anywhere. cutmix: a rectangle of another face of the set, whose
    share of the picture is uniform in [0, 1], as Yun et al. (2019) draw it (Beta(1, 1)).
    """
    assert batch.masks is not None
    images, masks = batch.images.clone(), batch.masks.clone()
    height, width = images.shape[2:]
    chances = [np.random.default_rng((seed, _STREAM, step, number)) for number in numbers]
    partners = faces.batch([int(rng.integers(size)) for rng in chances]).images if kind == "cutmix" else None
    for row, rng in enumerate(chances):
        share = np.sqrt(rng.uniform()) if kind == "cutmix" else _SIDE
        rows, columns = _random_span(rng, height, share), _random_span(rng, width, share)
        images[row, :, rows, columns] = _GREY if partners is None else partners[row, :, rows, columns]
        masks[row, :, rows, columns] = 0.0
    return replace(batch, images=images, masks=masks)


def _random_span(rng: np.random.Generator, length: int, share: float) -> slice:
    """A stretch of that share of the length about a place anywhere, as far as it lies within."""
    centre, half = int(rng.integers(length)), round(length * share) // 2
    return slice(max(centre - half, 0), min(centre + half, length))
