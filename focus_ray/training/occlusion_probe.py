"""Occlusion probe: pastes patches at known positions, so that masks can be scored without labels.

A piece of another picture of the same set, as cutmix pastes it (Yun et al. 2019), here an ellipse about a landmark.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

RADII = (0.12, 0.3)
"""From and to which half axes go, as shares of the landmarks' extent: from a mole to a hand."""
_STREAM = 11  # keeps these random numbers apart from every other use of a picture's number


def donor_indices(numbers: Sequence[int], count: int) -> list[int]:
    """For each of some pictures of `count`, the one that a piece is taken from: another one, where there is one."""
    return [(number + 1 + int(_rng(number).integers(max(count - 1, 1)))) % count for number in numbers]


def paste_patches(
    images: Float[Tensor, "B 3 H W"],
    landmarks: Float[Tensor, "B 68 2"],
    donors: Float[Tensor, "B 3 H W"],
    numbers: Sequence[int],
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    """The pictures with a piece of the others on each, and where it is. A function of the pictures' numbers."""
    height, width = images.shape[2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    where = torch.zeros(len(images), 1, height, width)
    pieces = torch.empty_like(images)
    for row, number in enumerate(numbers):
        rng = _rng(number)
        points = landmarks[row].cpu()
        centre = points[int(rng.integers(len(points)))]
        extent = float((points.amax(dim=0) - points.amin(dim=0)).mean())
        long, wide = extent * rng.uniform(*RADII, size=2)
        angle = rng.uniform(0, np.pi)
        right, down = x - centre[0], y - centre[1]
        along = (right * np.cos(angle) + down * np.sin(angle)) / long
        across = (down * np.cos(angle) - right * np.sin(angle)) / wide
        where[row, 0] = ((along**2 + across**2) < 1).float()
        # Moved, lest a nose lies on a nose.
        moved = (int(rng.integers(height)), int(rng.integers(width)))
        pieces[row] = torch.roll(donors[row], moved, dims=(1, 2))
    where = where.to(images.device)
    return torch.where(where > 0, pieces, images), where


def probe_overlap(
    before: Float[Tensor, "B 1 H W"],
    after: Float[Tensor, "B 1 H W"],
    probe_mask: Float[Tensor, "B 1 H W"],
    region: Float[Tensor, "B 1 H W"],
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """What masks newly leave out and what was planted: soft intersection and union, in pixels of the region.

    A mask that leaves out everything leaves out nothing newly, and one that leaves out nothing does not either.
    """
    newly, planted = (before - after).clamp(min=0) * region, probe_mask * region
    return torch.minimum(newly, planted).sum(dim=(1, 2, 3)), torch.maximum(newly, planted).sum(dim=(1, 2, 3))


def _rng(number: int) -> np.random.Generator:
    return np.random.default_rng((_STREAM, number))
