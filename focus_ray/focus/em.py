"""The EM alternation (section 3.2): one network trains while the other one is frozen."""

from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from focus_ray.focus import losses
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.explained import explained_mask
from focus_ray.focus.losses import ReconstructionWeights, SegmentationWeights
from focus_ray.focus.pooled_ratio import PooledRatio, pooled_mean
from focus_ray.focus.reconstruction_terms import encode_and_render, reconstruction_terms
from focus_ray.focus.refine import RefineSettings, descend, trusted_mask
from focus_ray.focus.render.renderer import Rendering
from focus_ray.focus.replica_group import SINGLE_PROCESS, ReplicaGroup
from focus_ray.focus.schedule import OptimizerSettings, SchedulePosition
from focus_ray.focus.state import StepLoss, StepMetrics, Targets, TrainState, mask_share, optimize_step
from focus_ray.focus.synthesis import ParameterWeights, parameter_loss
from focus_ray.settings import Settings

# Pixels with a colour error above this multiple of the mean are the worst explained ones, which the guard checks.
HIGH_ERROR_FACTOR = 4.0


class AreaCalibration(Settings):
    """The area weight that balances the neighbour loss at a chosen residual d*.

    With L_nbr and L_area alone a pixel is kept where eta_nbr r(x) / (H W) < eta_area / S_R, with r its neighbour
    residual: so eta_area = eta_nbr f r(d*), f = S_R / (H W), keeps the pixels with a residual below d*. d* follows the
    fit: a multiple of the median residual inside the rendered region, within bounds, averaged over the batches of S. A
    fixed weight is right at one quality of fit only: the masks collapse before it and grow over the outliers after it.
    """

    factor: float = Field(default=4.5, gt=0)  # d* over the median residual
    low: float = Field(default=0.08, gt=0)  # bounds of d*, as a colour distance
    high: float = Field(default=0.3, gt=0)
    rate: float = Field(default=0.1, gt=0, le=1)  # share of the way to the current batch's weight, per step


class TeacherSettings(Settings):
    """Teaching of the encoder by fits that are refined from its own predictions, inside the mask. Not in the paper."""

    refine: RefineSettings = RefineSettings()
    weights: ParameterWeights = ParameterWeights()


class EmSettings(Settings):
    """Settings of both halves of the alternation."""

    segmentation: SegmentationWeights = SegmentationWeights()
    reconstruction: ReconstructionWeights = ReconstructionWeights()
    calibration: AreaCalibration | None = None  # None: eta_area as given
    # Differs from the paper: S is trained on the residual after a few refinement steps instead of the residual of the
    # encoder's one pass, and its input is the refined rendering for half of each batch, the one-pass rendering for the
    # other half. The error of a small encoder hides the outliers. No annotation is used: the refinement has the inputs
    # of R. None: the paper.
    refined_comparison: RefineSettings | None = None
    # Refine an image once in each of S's turns, and render the same fit whenever it comes again.
    keep_fits: bool = False
    teacher: TeacherSettings | None = None  # None: the paper

    @model_validator(mode="after")
    def _check_kept_fits(self) -> "EmSettings":
        refine = self.refined_comparison
        if self.keep_fits and (refine is None or refine.trusting_share < 1):
            raise ValueError("keep_fits needs refined_comparison.trusting_share = 1: kept fits must not depend on S")
        return self


def segmentation_terms(
    focus: Focus,
    batch: Targets,
    rendering: Rendering,
    mask: Float[Tensor, "B 1 H W"],
    region: Float[Tensor, "B 1 H W"],
    weights: SegmentationWeights,
) -> dict[str, PooledRatio]:
    """Compute the terms of L_S (Eq. 1-4 and L_bin), unweighted.

    Args:
        focus: networks.
        batch: targets.
        rendering: what the target is compared with.
        mask: M, 0 outside `region`.
        region: 1 where the mask may be 1.
        weights: weights and options of the losses.

    Returns:
        Terms by symbol: nbr, area, bin, and dist and presv if their weight is not 0 and there is a perceptual network.
    """
    target, rendered = batch.images, rendering.image
    mean = partial(pooled_mean, count=len(target))
    terms = {
        "nbr": losses.neighbor_sum(
            target,
            rendered,
            mask,
            window=weights.neighbor_window,
            squared=weights.neighbor_squared,
            centre=weights.neighbor_centre,
            premultiplied=weights.neighbor_premultiplied,
            normalise=weights.neighbor_normalise,
            border=weights.neighbor_border,
        ),
        "area": mean(losses.area(mask, region, form=weights.area_form)),
        "bin": losses.binary_sum(mask, region if weights.binary_region_only else None, form=weights.binary_form),
    }
    if focus.perceptual is None or not (weights.eta_dist or weights.eta_presv):
        return terms
    shallow = focus.perceptual.shallow
    visible_features = shallow(target * mask, batch.landmarks)
    if weights.eta_dist:
        rendered_features = shallow(rendered * mask, rendering.landmarks)
        terms["dist"] = mean(
            losses.dist(visible_features, rendered_features, width_normalised=weights.width_normalised)
        )
    if weights.eta_presv:
        with torch.no_grad():
            image_features = shallow(target, batch.landmarks)
        terms["presv"] = mean(losses.presv(visible_features, image_features, width_normalised=weights.width_normalised))
    return terms


def segmentation_step(
    state: TrainState, batch: Targets, position: SchedulePosition, settings: EmSettings, optimizer: OptimizerSettings
) -> tuple[TrainState, StepMetrics]:
    """Train S for one step; R is frozen.

    Returns:
        The state, changed in place, and the metrics of the step.
    """
    focus = state.focus
    one_pass, compared = render_pair(focus, batch, settings, state.kept_fits if settings.keep_fits else None)
    area_weight = state.area_weight
    if settings.calibration is not None:
        measured = calibrate_area_weight(batch, compared, settings, state.process_group)
        previous = measured if area_weight is None else area_weight
        area_weight = previous + settings.calibration.rate * (measured - previous)
    weights = settings.segmentation
    if area_weight is not None:
        weights = weights.model_copy(update={"eta_area": area_weight})
    shown = compared if settings.refined_comparison is None else interleave(one_pass, compared, batch.first_index)
    explained: Tensor | None = None
    if batch.planted is not None and weights.eta_planted:
        face_model, factor = focus.renderer.model, weights.planted_explained
        explained = explained_mask(batch, compared, face_model, factor, state.process_group)
    error = PooledRatio((colour_error(batch.images, compared) * compared.mask).sum(), compared.mask.sum())
    high_error = HIGH_ERROR_FACTOR * state.process_group.all_reduce({"error": error})["error"].ratio()

    def objective(network: nn.Module, rows: slice) -> StepLoss:
        part, input_rendering, compared_rendering = batch.rows(rows), shown.rows(rows), compared.rows(rows)
        region = input_rendering.mask * compared_rendering.mask  # outside of it, one of the renderings is empty
        logits = network(input_rendering.image, part.images)
        mask = focus.segmenter.logits_to_mask(logits) * region
        terms = segmentation_terms(focus, part, compared_rendering, mask, region, weights)
        if part.planted is not None and explained is not None:
            face, outlier = explained[rows] * region, part.planted * region
            terms["planted"] = losses.planted_sum(logits, outlier, face, outlier_weight=weights.planted_outlier_weight)
        total = partial(losses.segmentation_total, weights=weights)
        worst = region * (colour_error(part.images, compared_rendering) > high_error)
        return StepLoss(terms, total, mask_share(mask, region), mask_share(mask * worst, worst))

    metrics = optimize_step(state, position, focus.segmenter, optimizer, len(batch.images), objective)
    if not metrics.skipped:
        state.area_weight = area_weight
    return state, metrics


def colour_error(images: Float[Tensor, "B 3 H W"], rendering: Rendering) -> Float[Tensor, "B 1 H W"]:
    """Compute |I_T - I_R| over the channels.

    Args:
        images: targets I_T, RGB in [0, 1].
        rendering: of the same images.

    Returns:
        Colour distances.
    """
    return losses.squared_distance(images, rendering.image).sqrt()


def render_pair(
    focus: Focus, batch: Targets, settings: EmSettings, kept: dict[int, Float[Tensor, " 257"]] | None = None
) -> tuple[Rendering, Rendering]:
    """Render a batch with the frozen autoencoder, for S to look at and for S to compare the target with.

    Args:
        focus: networks.
        batch: targets.
        settings: of the refinement.
        kept: refined parameters by number of the image, which are used and added to; None: refine every time.

    Returns:
        The one-pass rendering, and the refined one (`refined_comparison`), or the one-pass rendering again without it.
    """
    focus.autoencoder.eval()
    with torch.no_grad():
        theta, one_pass = focus.autoencoder(batch.images)
    if settings.refined_comparison is None:
        return one_pass, one_pass
    focus.segmenter.eval()
    refine, renderer, scales = settings.refined_comparison, focus.renderer, focus.scales
    numbers = None if kept is None else batch.numbers
    if kept is not None and numbers is not None and all(number in kept for number in numbers):
        with torch.no_grad():
            return one_pass, renderer(torch.stack([kept[number] for number in numbers]))
    trusted = partial(trusted_mask, factor=refine.trusting_factor)
    final, refined = descend(renderer, scales, batch.images, theta, focus.mask, batch.landmarks, refine, trusted)
    if kept is not None and numbers is not None:
        kept.update(zip(numbers, final, strict=True))
    return one_pass, refined


def interleave(one_pass: Rendering, refined: Rendering, first: int = 0) -> Rendering:
    """Alternate one-pass and refined renderings over the images of a batch, so that S learns to segment both.

    Args:
        one_pass: rendering of even images.
        refined: rendering of odd images.
        first: number of the first image in the global batch, in which images are counted.

    Returns:
        Rendering whose image and mask alternate; the other fields are those of `one_pass`.
    """
    numbers = first + torch.arange(len(one_pass.image), device=one_pass.image.device)
    odd = numbers[:, None, None, None] % 2 == 1
    return replace(
        one_pass,
        image=torch.where(odd, refined.image, one_pass.image),
        mask=torch.where(odd, refined.mask, one_pass.mask),
    )


def recalibrate(state: TrainState, batch: Targets, settings: EmSettings) -> None:
    """Set the area weight by the rule of AreaCalibration from this batch alone; its old value has no effect."""
    _, compared = render_pair(state.focus, batch, settings)
    state.area_weight = calibrate_area_weight(batch, compared, settings, state.process_group)


@torch.no_grad()
def calibrate_area_weight(
    batch: Targets, rendering: Rendering, settings: EmSettings, process_group: ReplicaGroup = SINGLE_PROCESS
) -> float:
    """Compute eta_area = eta_nbr f r(d*), with d* from the residuals of the global batch (see AreaCalibration).

    Args:
        batch: this replica's targets.
        rendering: what the targets are compared with.
        settings: without `calibration`, its defaults are used.
        process_group: replicas of the global batch.

    Returns:
        eta_area; the configured weight where no pixel is rendered.
    """
    calibration = settings.calibration or AreaCalibration()
    weights = settings.segmentation
    residual = losses.neighbor_residual(
        batch.images, rendering.image, window=weights.neighbor_window, centre=weights.neighbor_centre
    )
    inside = process_group.all_gather(residual[batch.without_planted(rendering.mask) > 0])
    if not len(inside):
        return weights.eta_area
    threshold = float(calibration.factor * inside.median())
    threshold = min(max(threshold, calibration.low), calibration.high)
    cost = threshold**2 if weights.neighbor_squared else threshold
    everywhere = PooledRatio(rendering.mask.sum(), rendering.mask.new_tensor(float(rendering.mask.numel())))
    rendered = process_group.all_reduce({"rendered": everywhere})["rendered"]
    return weights.eta_nbr * float(rendered.ratio()) * cost


def reconstruction_step(
    state: TrainState, batch: Targets, position: SchedulePosition, settings: EmSettings, optimizer: OptimizerSettings
) -> tuple[TrainState, StepMetrics]:
    """Train R for one step; S is frozen and its mask selects the pixels that count.

    Returns:
        The state, changed in place, and the metrics of the step.
    """
    weights, focus = settings.reconstruction, state.focus
    state.kept_fits.clear()  # they are fits of R as it was
    focus.segmenter.eval().requires_grad_(False)  # fixed, also where its mask is not detached

    def objective(network: nn.Module, rows: slice) -> StepLoss:
        part = batch.rows(rows)
        theta, rendering = encode_and_render(network, focus, part)
        with torch.set_grad_enabled(not weights.detach_mask):
            mask = part.without_planted(focus.mask(part.images, rendering))
        terms = reconstruction_terms(focus, part, theta, rendering, mask, weights)
        if settings.teacher is not None and weights.lambda_teacher:
            refined = refine_theta(focus, part, theta.detach(), settings.teacher.refine)
            errors = parameter_loss(focus.renderer, focus.scales, theta, refined, settings.teacher.weights)
            terms["teacher"] = pooled_mean(torch.stack(list(errors.values())).sum(), len(theta))
        total = partial(losses.reconstruction_total, weights=weights)
        return StepLoss(terms, total, mask_share(mask, rendering.mask))

    return state, optimize_step(state, position, focus.encoder, optimizer, len(batch.images), objective)


def refine_theta(
    focus: Focus, batch: Targets, theta: Float[Tensor, "B 257"], settings: RefineSettings
) -> Float[Tensor, "B 257"]:
    """Refine predictions inside the masks of S, without the pixels of pasted occluders.

    Args:
        focus: networks.
        batch: targets.
        theta: prediction of the encoder.
        settings: weights and steps.

    Returns:
        theta of the refined fits.
    """

    def mask_fn(images: Tensor, rendering: Rendering) -> Tensor:
        return batch.without_planted(focus.mask(images, rendering))

    def trusted_fn(images: Tensor, rendering: Rendering) -> Tensor:
        return batch.without_planted(trusted_mask(images, rendering, settings.trusting_factor, batch.planted))

    refined, _ = descend(
        focus.renderer, focus.scales, batch.images, theta, mask_fn, batch.landmarks, settings, trusted_fn
    )
    return refined
