"""Scores of a model without occlusion labels: how well it explains images, and how stable its masks are.

These figures need images and landmarks only, no true masks; docs/tuning.md reports how well they rank models.
"""

import torch
from torch import Tensor

from focus_ray.data.sample import FaceDataset
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.losses.distances import cosine_distance, safe_sqrt, squared_distance
from focus_ray.training.occlusion_probe import donor_indices, paste_patches, probe_overlap

EXCLUDED_PIXEL_COST = 0.15
"""Cost of a pixel outside the mask, as a colour distance: between the error of a fair fit and that of an occluder.

It prevents small masks from scoring well: excluding a pixel lowers the score only if its error is larger than this.
"""
LANDMARK_WEIGHT, PERCEPTUAL_WEIGHT = 2.0, 0.1
"""Weights of the mean landmark error (share of the image side) and of the cosine distance of features."""


@torch.no_grad()
def score_unlabelled(focus: Focus, faces: FaceDataset, count: int, batch_size: int = 50) -> dict[str, float | None]:
    """Score one pass of the model over the first `count` faces. Lower is better, unless noted.

    explained   mean over the rendered region: colour distance where the mask is 1, EXCLUDED_PIXEL_COST where it is 0
    landmarks   mean distance of the 68 landmarks to the given ones, as a share of the image's side
    perceptual  cosine distance of the features of masked image and masked rendering; None without perceptual network
    planted     IoU of the pixels that masks newly exclude and those of pasted patches (occlusion_probe.py); higher is
                better
    unsteady    mean difference of a face's mask and that of the mirrored image, mirrored back, inside both regions
    mask_coverage  share of the rendered region that is classified as face
    unlabelled  weighted sum of the first three: the objective of a search without labels

    Args:
        focus: networks, put in eval mode.
        faces: images with landmarks.
        count: number of faces to score.
        batch_size: faces in a batch.

    Returns:
        The figures by name.
    """
    focus.eval()
    device = next(focus.encoder.parameters()).device
    sums: dict[str, float] = {}
    for start in range(0, count, batch_size):
        numbers = range(start, min(start + batch_size, count))
        batch = faces.batch(numbers).to(device)
        others = faces.batch(donor_indices(numbers, count)).to(device)
        changed, where = paste_patches(batch.images, batch.landmarks, others.images, numbers)
        for name, values in _batch_figures(focus, batch.images, batch.landmarks, changed, where).items():
            sums[name] = sums.get(name, 0.0) + float(values.double().sum())
    means: dict[str, float | None] = {name: value / count for name, value in sums.items()}
    means.setdefault("perceptual", None)
    noticed_pixels, all_pixels = means.pop("planted_both") or 0.0, means.pop("planted_either") or 0.0
    means["planted"] = noticed_pixels / all_pixels if all_pixels else 0.0
    means["unlabelled"] = (
        (means["explained"] or 0.0)
        + LANDMARK_WEIGHT * (means["landmarks"] or 0.0)
        + PERCEPTUAL_WEIGHT * (means["perceptual"] or 0.0)
    )
    return means


def _batch_figures(
    focus: Focus, images: Tensor, landmarks: Tensor, probed: Tensor, probe_mask: Tensor
) -> dict[str, Tensor]:
    """Compute each figure of each face [B]; `probed` are the images with patches at `probe_mask`."""
    _, rendering = focus.autoencoder(images)
    mask, region = focus.mask(images, rendering), rendering.mask
    _, of_mirrored = focus.autoencoder(images.flip(-1))
    mirrored = focus.mask(images.flip(-1), of_mirrored).flip(-1)
    both = region * of_mirrored.mask.flip(-1)
    _, of_changed = focus.autoencoder(probed)
    intersection, union = probe_overlap(mask, focus.mask(probed, of_changed), probe_mask, region * of_changed.mask)
    residual = safe_sqrt(squared_distance(images, rendering.image))
    found = {
        "explained": _mean_inside(mask * residual + (1 - mask) * EXCLUDED_PIXEL_COST, region),
        "landmarks": (rendering.landmarks - landmarks).norm(dim=-1).mean(dim=1) / images.shape[-1],
        "unsteady": _mean_inside((mask - mirrored).abs(), both),
        "mask_coverage": _mean_inside(mask, region),
        "planted_both": intersection,
        "planted_either": union,
    }
    if focus.perceptual is not None:
        shallow = focus.perceptual.shallow
        pairs = zip(
            shallow(images * mask, landmarks), shallow(rendering.image * mask, rendering.landmarks), strict=True
        )
        found["perceptual"] = torch.stack([cosine_distance(seen[None], shown[None]) for seen, shown in pairs])
    return found


def _mean_inside(values: Tensor, region: Tensor) -> Tensor:
    """Mean over the region of each image [B]; EXCLUDED_PIXEL_COST for an empty region."""
    size = region.sum(dim=(1, 2, 3))
    return torch.where(size > 0, (values * region).sum(dim=(1, 2, 3)) / size.clamp(min=1), EXCLUDED_PIXEL_COST)
