"""The losses of the paper, one pure function for each symbol (sections 3.2 and 3.3)."""

from focus_ray.focus.losses.distances import cosine_distance, squared_distance
from focus_ray.focus.losses.likelihood import (
    PAPER_XI,
    RELEASE_SIGMA,
    RELEASE_XI,
    log_likelihood,
    mask_cross_entropy,
    mask_cross_entropy_sum,
    preliminary_mask,
    truncated_nll,
)
from focus_ray.focus.losses.reconstruction import (
    landmark,
    landmark_weights,
    perceptual,
    pixel,
    pixel_sum,
    regularizer,
)
from focus_ray.focus.losses.segmentation import (
    area,
    binary,
    binary_sum,
    dist,
    neighbor,
    neighbor_residual,
    neighbor_sum,
    planted_sum,
    presv,
)
from focus_ray.focus.losses.weights import (
    ReconstructionWeights,
    SegmentationWeights,
    reconstruction_total,
    segmentation_total,
)
from focus_ray.focus.pooled_ratio import PooledRatio

__all__ = [
    "PAPER_XI",
    "RELEASE_SIGMA",
    "RELEASE_XI",
    "PooledRatio",
    "ReconstructionWeights",
    "SegmentationWeights",
    "area",
    "binary",
    "binary_sum",
    "cosine_distance",
    "dist",
    "landmark",
    "landmark_weights",
    "log_likelihood",
    "mask_cross_entropy",
    "mask_cross_entropy_sum",
    "neighbor",
    "neighbor_residual",
    "neighbor_sum",
    "perceptual",
    "pixel",
    "pixel_sum",
    "planted_sum",
    "preliminary_mask",
    "presv",
    "reconstruction_total",
    "regularizer",
    "segmentation_total",
    "squared_distance",
    "truncated_nll",
]
