"""Scores of masks, landmarks, shapes and colours against the truth: one row per image, then a summary.

Masks are thresholded and compared inside the rendered region. The positive class of `f1`, `precision` and `recall` is
the visible face, per image and then averaged, as in the paper (Table 4). The positive class of `outlier_*` is the
outlier, pooled over all pixels, because most images have few outlier pixels.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MASK_THRESHOLD = 0.5
REFERENCE_SIZE = 224  # landmark errors are given in pixels of an image of this size


@dataclass(frozen=True)
class ImageScores:
    """Counts and errors per image, each [N]; NaN where the truth is unknown. Mergeable."""

    true_face: Tensor  # pixels: face, predicted face
    true_outlier: Tensor  # outlier, predicted outlier
    missed_face: Tensor  # face, predicted outlier
    missed_outlier: Tensor  # outlier, predicted face
    squared_colour: Tensor  # sum over visible and rendered pixels and channels, (0-255)^2
    visible_values: Tensor  # number of terms of that sum
    landmark_px: Tensor  # mean over the 68, px at 224
    vertex_mm: Tensor  # mean over the vertices, mm
    corrected_mm: Tensor  # the same after the misfit prior was subtracted

    @classmethod
    def merge(cls, parts: "list[ImageScores]") -> "ImageScores":
        """Concatenate the scores of all parts, in order."""
        return cls(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def select(self, mask: Bool[Tensor, " N"]) -> "ImageScores":
        """Select images.

        Args:
            mask: True for the images to keep.

        Returns:
            Scores of these images.
        """
        return ImageScores(**{f.name: getattr(self, f.name)[mask] for f in fields(self)})

    def __len__(self) -> int:
        return len(self.true_face)


def score(
    *,
    target: Float[Tensor, "B 3 H W"],
    rendering: Float[Tensor, "B 3 H W"],
    region: Float[Tensor, "B 1 H W"],
    mask: Float[Tensor, "B 1 H W"],
    true_mask: Float[Tensor, "B 1 H W"],
    landmarks: Float[Tensor, "B 68 2"],
    true_landmarks: Float[Tensor, "B 68 2"] | None = None,
    vertices: Float[Tensor, "B V 3"] | None = None,
    true_vertices: Float[Tensor, "B V 3"] | None = None,
    corrected: Float[Tensor, "B V 3"] | None = None,
) -> ImageScores:
    """Compute the scores of one batch.

    Args:
        target: images, RGB in [0, 1].
        rendering: reconstructions, RGB, clamped to [0, 1] here.
        region: 1 in the rendered region; pixels outside are not counted.
        mask: predicted mask, 1 = face.
        true_mask: 1 where the face is visible.
        landmarks: predicted, px of the images.
        true_landmarks: px of the images; None: unknown.
        vertices: fitted, model frame, mm; None: not scored.
        true_vertices: model frame, mm; None: unknown.
        corrected: fitted vertices without the systematic error (section 3.4), mm; None: not scored.

    Returns:
        One row per image.
    """
    inside = region > MASK_THRESHOLD
    called = mask > MASK_THRESHOLD
    visible = true_mask > MASK_THRESHOLD

    def count(pixels: Tensor) -> Tensor:
        return (pixels & inside).flatten(1).sum(1).double()

    unknown = torch.full((len(target),), float("nan"), dtype=torch.float64, device=target.device)
    difference = 255 * (rendering.clamp(0, 1) - target) * (visible & inside)
    landmark_px = unknown
    if true_landmarks is not None:
        scale = REFERENCE_SIZE / target.shape[-1]
        landmark_px = scale * (landmarks - true_landmarks).norm(dim=-1).mean(1).double()
    vertex_mm, corrected_mm = (
        unknown if one is None or true_vertices is None else vertex_distance(one, true_vertices)
        for one in (vertices, corrected)
    )
    return ImageScores(
        true_face=count(called & visible),
        true_outlier=count(~called & ~visible),
        missed_face=count(~called & visible),
        missed_outlier=count(called & ~visible),
        squared_colour=difference.double().square().flatten(1).sum(1),
        visible_values=3 * count(visible),
        landmark_px=landmark_px,
        vertex_mm=vertex_mm,
        corrected_mm=corrected_mm,
    )


def vertex_distance(vertices: Float[Tensor, "B V 3"], true_vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, " B"]:
    """Compute the mean vertex distance of each face after similarity alignment.

    Args:
        vertices: fitted, mm.
        true_vertices: mm.

    Returns:
        Mean distances, mm, float64.
    """
    true_vertices = true_vertices.double()
    return (similarity_align(vertices.double(), true_vertices) - true_vertices).norm(dim=-1).mean(1)


def similarity_align(points: Float[Tensor, "B V 3"], targets: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 3"]:
    """Align points to targets by a least-squares similarity without reflection (Umeyama 1991).

    Args:
        points: to move, rotate and scale, mm.
        targets: corresponding points, mm.

    Returns:
        Aligned points, mm.
    """
    centre, target_centre = points.mean(1, keepdim=True), targets.mean(1, keepdim=True)
    centred, target_centred = points - centre, targets - target_centre
    u, singular, vt = torch.linalg.svd(target_centred.mT @ centred)
    sign = torch.ones_like(singular)
    sign[:, -1] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
    rotation = u @ torch.diag_embed(sign) @ vt
    spread = centred.square().sum((1, 2)).clamp_min(torch.finfo(points.dtype).tiny)
    scale = (singular * sign).sum(1) / spread
    return scale[:, None, None] * centred @ rotation.mT + target_centre


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide elementwise, with NaN where the denominator is zero: that image has no value.

    Args:
        numerator: counts or sums.
        denominator: not negative, same shape.

    Returns:
        Quotients, same shape.
    """
    return numerator / torch.where(denominator > 0, denominator, float("nan"))


def summarise(scores: ImageScores) -> dict[str, float | int | None]:
    """Compute the metrics of one set of images.

    Args:
        scores: one row per image.

    Returns:
        Values by the keys of `metrics.json`; None where no image has ground truth for the metric.
    """
    face, outlier = scores.true_face, scores.true_outlier
    lost, missed = scores.missed_face, scores.missed_outlier
    total = face + outlier + lost + missed
    pooled_outlier, pooled_lost, pooled_missed = outlier.sum(), lost.sum(), missed.sum()
    outlier_recall = ratio(pooled_outlier, pooled_outlier + pooled_missed)
    face_recall = ratio(face.sum(), face.sum() + pooled_lost)
    figures = {
        "mask_coverage": ratio(face + missed, total).nanmean(),
        "f1": ratio(2 * face, 2 * face + lost + missed).nanmean(),
        "accuracy": ratio(face + outlier, total).nanmean(),
        "precision": ratio(face, face + missed).nanmean(),
        "recall": ratio(face, face + lost).nanmean(),
        "outlier_precision": ratio(pooled_outlier, pooled_outlier + pooled_lost),
        "outlier_recall": outlier_recall,
        "outlier_iou": ratio(pooled_outlier, pooled_outlier + pooled_lost + pooled_missed),
        "balanced_accuracy": (outlier_recall + face_recall) / 2,
        "landmark_px": scores.landmark_px.nanmean(),
        "vertex_mm": scores.vertex_mm.nanmean(),
        "rmse_255": ratio(scores.squared_colour, scores.visible_values).sqrt().nanmean(),
    }
    known = scores.corrected_mm.isfinite()
    if bool(known.any()):
        better = scores.corrected_mm[known] < scores.vertex_mm[known]
        figures |= {"corrected_mm": scores.corrected_mm.nanmean(), "improved_share": better.double().mean()}
    return {"n": len(scores)} | {
        name: float(value) if torch.isfinite(value) else None for name, value in figures.items()
    }
