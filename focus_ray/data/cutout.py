"""Occlusion by augmentation, for the supervised baselines (section 4.1): parts of the pictures are cut out.

The masks are 0 in the parts that are cut out. An augmentation is a function of (seed, step, number of the face).
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
    """Cut a part out of each picture of a batch.

    cutout: a grey square of half the side, its centre anywhere. cutmix: a rectangle of another face of the set, whose
    share of the picture is uniform in [0, 1], as Yun et al. (2019) draw it (Beta(1, 1)).

    Args:
        batch: pictures with masks.
        kind: cutout or cutmix.
        faces: data set that cutmix takes its rectangles from.
        size: number of faces in that data set.
        seed: seed of the run.
        step: global step.
        numbers: numbers of the batch's faces, which decide the cuts.

    Returns:
        The batch with cut pictures and masks.
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
    """Random slice of that share of the length, clipped at the ends."""
    centre, half = int(rng.integers(length)), round(length * share) // 2
    return slice(max(centre - half, 0), min(centre + half, length))
