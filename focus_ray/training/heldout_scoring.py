"""Scores a model on faces with ground truth: one pass, refined, with no mask and with the true mask.

mean_face         head output 0, the result without any fitting; all-ones mask
all_ones          the model's one-pass fit, scored with an all-ones mask
focus             the model's one-pass fit and mask
refined           the fit refined under the model's mask, which is re-estimated during refinement
refined_all_ones  refined under an all-ones mask: the effect of occlusions on a fit that ignores them
refined_oracle    refined under the true mask: the fit with a perfect segmenter; scored with the model's mask
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from focus_ray.data.sample import Batch, FaceDataset
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.metrics import MASK_THRESHOLD, ImageScores, score, summarise
from focus_ray.focus.parameters import split_theta
from focus_ray.focus.refine import RefineResult, RefineSettings, refine, refine_with_segmenter
from focus_ray.focus.render.renderer import Rendering
from focus_ray.prior import Prior

ONE_PASS = ("mean_face", "all_ones", "focus")
REFINED = ("refined", "refined_all_ones", "refined_oracle")
Variant = Callable[[Batch], RefineResult]


class Scorer:
    """Fits a batch by each variant, one method each. Networks are put in eval mode; nothing is trained."""

    def __init__(self, focus: Focus, settings: RefineSettings):
        self.focus = focus.eval()
        self.settings = settings
        self.device = next(focus.encoder.parameters()).device

    def fits(self, batch: Batch, variants: tuple[str, ...]) -> Iterator[tuple[str, RefineResult]]:
        """Fit one batch by several variants.

        Args:
            batch: faces; with true masks for `refined_oracle`.
            variants: names out of ONE_PASS and REFINED.

        Yields:
            Name of the variant, and its theta, rendering and mask.
        """
        for name in variants:
            yield name, getattr(self, "focus_fit" if name == "focus" else name)(batch)

    @torch.no_grad()
    def mean_face(self, batch: Batch) -> RefineResult:
        offset, _ = self.focus.scales.vectors()
        theta = offset.to(batch.images).expand(len(batch), -1)
        rendering = self.focus.renderer(theta)
        return RefineResult(theta, rendering, rendering.mask)

    @torch.no_grad()
    def focus_fit(self, batch: Batch) -> RefineResult:
        theta, rendering = self.focus.autoencoder(batch.images)
        return RefineResult(theta, rendering, self.focus.mask(batch.images, rendering))

    def all_ones(self, batch: Batch) -> RefineResult:
        fit = self.focus_fit(batch)
        return fit._replace(mask=fit.rendering.mask)

    def refined(self, batch: Batch) -> RefineResult:
        return refine_with_segmenter(self.focus, batch.images, self._one_pass(batch), batch.landmarks, self.settings)

    def refined_all_ones(self, batch: Batch) -> RefineResult:
        return self._refine(batch, lambda _, rendering: rendering.mask)

    def refined_oracle(self, batch: Batch) -> RefineResult:
        assert batch.masks is not None
        truth = batch.masks

        def true_mask(_: Tensor, rendering: Rendering) -> Tensor:
            return rendering.mask * truth

        fit = self._refine(batch, true_mask)
        with torch.no_grad():
            return fit._replace(mask=self.focus.mask(batch.images, fit.rendering))

    def _refine(self, batch: Batch, mask_of: Callable[[Tensor, Rendering], Tensor]) -> RefineResult:
        theta = self._one_pass(batch)
        return refine(
            self.focus.renderer, self.focus.scales, batch.images, theta, mask_of, batch.landmarks, self.settings
        )

    @torch.no_grad()
    def _one_pass(self, batch: Batch) -> Tensor:
        return self.focus.encoder(batch.images)


def score_fit(focus: Focus, batch: Batch, fit: RefineResult, prior: Prior | None = None) -> ImageScores:
    """Score one variant on one batch.

    Args:
        focus: networks; their face model computes the vertices.
        batch: faces with true masks; without true vertices the scores have no vertex errors.
        fit: theta, rendering and mask of the variant.
        prior: misfit prior; None: no scores of corrected vertices.

    Returns:
        One row for each image.
    """
    assert batch.masks is not None
    with torch.no_grad():
        vertices = None if batch.vertices is None else focus.face_model.vertices(split_theta(fit.theta).alpha)
        return score(
            target=batch.images,
            rendering=fit.rendering.image,
            region=fit.rendering.mask,
            mask=fit.mask,
            true_mask=batch.masks,
            landmarks=fit.rendering.landmarks,
            true_landmarks=batch.landmarks if batch.landmarks_true is None else batch.landmarks_true,
            vertices=vertices,
            true_vertices=batch.vertices,
            corrected=None if prior is None or vertices is None else prior.correct(vertices),
        )


def score_faces(
    scorer: Scorer,
    faces: FaceDataset,
    size: int,
    batch_size: int,
    unseen_families: frozenset[str],
    variants: tuple[str, ...] = ONE_PASS + REFINED,
    progress: Callable[[int, int], None] | None = None,
    priors: Mapping[str, Prior] | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Score several variants over the first `size` faces.

    Args:
        scorer: fits the faces.
        faces: faces with ground truth.
        size: number of faces to score.
        batch_size: faces in a batch.
        unseen_families: occluder families that were not in the training data.
        variants: names out of ONE_PASS and REFINED.
        progress: called with (faces done, faces in all).
        priors: misfit priors by variant; their corrected vertices are scored too.

    Returns:
        {variant: {subset: figures}}, the layout of `heldout` in metrics.json; for the subsets see `subsets`.
    """
    scores: dict[str, list[ImageScores]] = {name: [] for name in variants}
    families: list[str] = []
    for start in range(0, size, batch_size):
        batch = faces.batch(range(start, min(start + batch_size, size))).to(scorer.device)
        for name, fit in scorer.fits(batch, variants):
            scores[name].append(score_fit(scorer.focus, batch, fit, (priors or {}).get(name)))
        families += batch.families or ["unknown"] * len(batch)
        if progress is not None:
            progress(min(start + batch_size, size), size)
    chosen = subsets(families, unseen_families)
    merged = {name: ImageScores.merge(parts) for name, parts in scores.items()}
    return {
        name: {subset: summarise(rows.select(mask)) for subset, mask in chosen.items()} for name, rows in merged.items()
    }


def subsets(families: list[str], unseen_families: frozenset[str]) -> dict[str, Bool[Tensor, " N"]]:
    """Assign images to subsets by their occluder family.

    Args:
        families: occluder family of each image; "none": unoccluded.
        unseen_families: occluder families that were not in the training data.

    Returns:
        By subset, whether each image belongs to it: all, unoccluded, occluded, occluded_seen, occluded_unseen. Only
        `all` if a family is "unknown".
    """
    everything = torch.ones(len(families), dtype=torch.bool)
    if "unknown" in families:
        return {"all": everything}
    occluded = torch.tensor([family != "none" for family in families], dtype=torch.bool)
    unseen = torch.tensor([family in unseen_families for family in families], dtype=torch.bool)
    return {
        "all": everything,
        "unoccluded": ~occluded,
        "occluded": occluded,
        "occluded_seen": occluded & ~unseen,
        "occluded_unseen": occluded & unseen,
    }


@torch.no_grad()
def score_photos(focus: Focus, photos: FaceDataset, count: int, batch_size: int = 50) -> dict[str, float | int | None]:
    """Score one pass over photographs, without true masks and shapes.

    Args:
        focus: networks, put in eval mode.
        photos: photographs with landmarks.
        count: number of photographs to score, from the first.
        batch_size: photographs in a batch.

    Returns:
        n; landmark_px (at 224 px) against the given landmarks; rmse_255 and mask_coverage inside the model's own mask.
    """
    focus.eval()
    device = next(focus.encoder.parameters()).device
    scores = []
    for start in range(0, count, batch_size):
        batch = photos.batch(range(start, min(start + batch_size, count))).to(device)
        theta, rendering = focus.autoencoder(batch.images)
        mask = focus.mask(batch.images, rendering)
        with_own_masks = replace(batch, masks=(mask > MASK_THRESHOLD).to(mask))
        scores.append(score_fit(focus, with_own_masks, RefineResult(theta, rendering, mask)))
    figures = summarise(ImageScores.merge(scores))
    return {name: figures[name] for name in ("n", "landmark_px", "rmse_255", "mask_coverage")}
