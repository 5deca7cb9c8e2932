"""Occlusion probe: pastes patches at known positions, so that masks can be scored without labels.

A patch is a piece of another image of the set, as in CutMix (Yun et al. 2019), here an ellipse centred at a landmark.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

RADII = (0.12, 0.3)
"""Range of the ellipses' half axes, as shares of the landmarks' extent: from the size of a mole to that of a hand."""
_STREAM = 11  # separates these random numbers from all other uses of an image's number


def donor_indices(numbers: Sequence[int], count: int) -> list[int]:
    """Draw the images that the patches are taken from.

    Args:
        numbers: images that get a patch.
        count: number of images in the set.

    Returns:
        For each of `numbers` another image of the set; the image itself if `count` is 1.
    """
    return [(number + 1 + int(_rng(number).integers(max(count - 1, 1)))) % count for number in numbers]


def paste_patches(
    images: Float[Tensor, "B 3 H W"],
    landmarks: Float[Tensor, "B 68 2"],
    donors: Float[Tensor, "B 3 H W"],
    numbers: Sequence[int],
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    """Paste a patch of a donor onto each image. Position, shape and content depend on the image's number only.

    Args:
        images: RGB in [0, 1].
        landmarks: px of the images.
        donors: images that the patches are taken from.
        numbers: numbers of the images in their set.

    Returns:
        The images with patches, and the patches' masks, 1 = patch.
    """
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
        # Shifted, so that the patch does not align with the face below: no nose on a nose.
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
    """Compute soft intersection and union of newly excluded pixels and pasted patches.

    A mask that excludes everything, or nothing, both before and after excludes no pixel newly.

    Args:
        before: soft masks of the images, 1 = face.
        after: soft masks of the images with patches.
        probe_mask: masks of the patches, 1 = patch.
        region: region that is compared, 1 = inside.

    Returns:
        Intersection and union of each image, px.
    """
    newly, planted = (before - after).clamp(min=0) * region, probe_mask * region
    return torch.minimum(newly, planted).sum(dim=(1, 2, 3)), torch.maximum(newly, planted).sum(dim=(1, 2, 3))


def _rng(number: int) -> np.random.Generator:
    return np.random.default_rng((_STREAM, number))
