"""Baselines of the paper (sections 4.1 and 4.4) as changes of a preset: every preset has them.

mofa                 Tewari et al.: no mask, no perceptual loss
backbone             the same with all losses
backbone-supervised  the backbone, true masks of the visible face in L_R
backbone-cutmix      the same, parts of other pictures pasted in
backbone-cutout      the same, grey squares pasted in
pretrained           what EM begins with (section 3.3)
baseline             S learns by Eq. 5 in place of neighbour and perceptual losses
neighbor             S learns by L_nbr alone, of these
perceptual           S learns by L_dist and L_presv alone, of these
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from focus_ray.config import RunConfig
from focus_ray.data.cutout import CutKind

PERCEPTUAL_AREA = 0.25
"""eta_area with L_dist and L_presv; from 0.05 to 0.25 the masks of the embedded preset stayed in range."""

PresetTransform = Callable[[RunConfig], RunConfig]


def backbone(base: RunConfig) -> RunConfig:
    """Train R alone without a mask, for R's budget: the steps of its initialisation and of its part of EM."""
    schedule = base.schedule
    steps = schedule.init_steps + schedule.cycles * schedule.face_steps
    alone = schedule.model_copy(update={"init_steps": steps, "pretrain_seg_steps": 0, "cycles": 0})
    return base.model_copy(
        update={
            "schedule": alone,
            "initialise": base.initialise.model_copy(update={"mask": "none"}),
            "heldout": base.heldout.model_copy(update={"refine": False}),  # refinement needs S, which is untrained
        }
    )


def mofa(base: RunConfig) -> RunConfig:
    """Train the backbone without L_per: with pixels, landmarks and the regulariser."""
    plain = backbone(base)
    weights = plain.initialise.weights.model_copy(update={"lambda_per": 0.0})
    return plain.model_copy(update={"initialise": plain.initialise.model_copy(update={"weights": weights})})


def supervised(base: RunConfig, cut: CutKind | None = None) -> RunConfig:
    """Train the backbone with the true masks of the visible face.

    Args:
        base: preset.
        cut: what is pasted over parts of the pictures; None: nothing.
    """
    plain = backbone(base)
    return plain.model_copy(
        update={
            "initialise": plain.initialise.model_copy(update={"mask": "true"}),
            "data": plain.data.model_copy(update={"cut": cut}),
        }
    )


def pretrained(base: RunConfig) -> RunConfig:
    """Train without EM, up to the state that EM begins with (section 3.3)."""
    return base.model_copy(update={"schedule": base.schedule.model_copy(update={"cycles": 0})})


def baseline(base: RunConfig) -> RunConfig:
    """Train S by Eq. 5 in place of neighbour and perceptual losses.

    With a window of one pixel L_nbr (Eq. 1) is the sum of Eq. 5. Both pictures are multiplied by the mask first, as in
    Eq. 5, which squares the difference: a soft mask counts with its square.
    """
    one_pixel = {"neighbor_window": 1, "neighbor_premultiplied": True}
    return with_segmentation_weights(base, one_pixel | {"eta_dist": 0.0, "eta_presv": 0.0})


def neighbor(base: RunConfig) -> RunConfig:
    """Train S without perceptual losses."""
    return with_segmentation_weights(base, {"eta_dist": 0.0, "eta_presv": 0.0})


def perceptual(base: RunConfig) -> RunConfig:
    """Train S without L_nbr; eta_area is PERCEPTUAL_AREA, the other weights are the preset's.

    The calibration of eta_area balances it against L_nbr. Without L_nbr the weight is fixed, and no guard changes it.
    At the paper's eta_presv the masks of the embedded preset become full.
    """
    changed = with_segmentation_weights(base, {"eta_nbr": 0.0, "eta_area": PERCEPTUAL_AREA})
    return changed.model_copy(
        update={
            "em": changed.em.model_copy(update={"calibration": None}),
            "guard": changed.guard.model_copy(update={"action": "restore"}),
        }
    )


def with_segmentation_weights(base: RunConfig, weights: dict[str, Any]) -> RunConfig:
    """Replace weights of the losses of S.

    Args:
        base: configuration to change.
        weights: new values of `em.segmentation` by key.
    """
    segmentation = base.em.segmentation.model_copy(update=weights)
    return base.model_copy(update={"em": base.em.model_copy(update={"segmentation": segmentation})})


BASELINES: dict[str, PresetTransform] = {
    "mofa": mofa,
    "backbone": backbone,
    "backbone-supervised": supervised,
    "backbone-cutmix": partial(supervised, cut="cutmix"),
    "backbone-cutout": partial(supervised, cut="cutout"),
    "pretrained": pretrained,
    "baseline": baseline,
    "neighbor": neighbor,
    "perceptual": perceptual,
}


def apply_baseline(base: RunConfig, name: str) -> RunConfig:
    """Apply the baseline `name` of BASELINES to a preset; the run is named after the baseline."""
    return BASELINES[name](base).model_copy(update={"preset": name})
