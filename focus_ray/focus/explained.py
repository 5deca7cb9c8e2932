"""Which pixels a fit explains, by what is usual in their part of the face.

Even a good fit explains eyes, lips and teeth less well than cheeks. With one bound for the whole face they would have
no label in `losses.planted_sum`, and Eq. 1-4 would make them outliers.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.appearance import pixel_cells
from focus_ray.focus.losses import neighbor_residual
from focus_ray.focus.render.renderer import Rendering
from focus_ray.focus.replica_group import SINGLE_PROCESS, ReplicaGroup
from focus_ray.focus.state import Targets

PARTS = 12
"""Rows and columns of the grid over the face model's texture coordinates whose cells are parts of the face."""

_LEAST_MEDIAN = 1e-6


@torch.no_grad()
def explained_mask(
    batch: Targets,
    rendering: Rendering,
    face_model: MorphableModel,
    factor: float,
    process_group: ReplicaGroup = SINGLE_PROCESS,
) -> Float[Tensor, "B 1 H W"]:
    """Mark the rendered pixels whose neighbour residual (Eq. 1) is at most `factor` times the usual one.

    The usual residual is the median of the image, times the median of these ratios in the same part of the face over
    the global batch where that is above 1. Pixels of pasted occluders do not count.

    Args:
        batch: this replica's targets.
        rendering: fits of the targets.
        face_model: face model of the rendering.
        factor: bound of the residual.
        process_group: replicas of the global batch.

    Returns:
        1 at explained pixels, else 0.
    """
    residual = neighbor_residual(batch.images, rendering.image)
    rendered = rendering.mask > 0
    counted = batch.without_planted(rendering.mask) > 0
    median = residual.masked_fill(~counted, torch.nan).flatten(1).nanmedian(dim=1).values
    ratios = residual / median.clamp_min(_LEAST_MEDIAN)[:, None, None, None]
    parts = pixel_cells(face_model, rendering.triangle_ids, PARTS)[:, None]
    gather = process_group.all_gather
    usual = group_medians(gather(ratios[counted]), gather(parts[counted]), PARTS**2)
    return (rendered & (ratios <= factor * usual.clamp_min(1.0)[parts])).to(residual)


def group_medians(values: Float[Tensor, " N"], groups: Int[Tensor, " N"], count: int) -> Float[Tensor, " G"]:
    """Compute the lower median of each group; a group without values has 1.

    Args:
        values: not NaN.
        groups: number of each value's group, from 0 to `count` - 1.
        count: number of groups.
    """
    medians = values.new_ones(count)
    if not len(values):
        return medians
    by_value = values.argsort()
    order = by_value[groups[by_value].argsort(stable=True)]
    sizes = groups.bincount(minlength=count)
    middle = (sizes.cumsum(0) - sizes + (sizes - 1).clamp_min(0) // 2).clamp_max(len(values) - 1)
    return torch.where(sizes > 0, values[order][middle], medians)
