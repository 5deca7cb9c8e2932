"""Rows of the ablation: models as changes of the portrait preset, and the mask that each row is scored with.

mofa               no mask, no perceptual loss, for the encoder's whole budget
pretrained         what EM begins with, the encoder trained for its whole budget
baseline           as focus, but S learns by Eq. 5 in place of neighbour and perceptual losses
neighbor           as focus, but S learns by L_nbr alone, of these
perceptual         as focus, but S learns by L_dist and L_presv alone, of these
focus              the preset without planted labels
focus-paper        the same without L_teacher and the comparison with refined fits, which the paper does not have
planted            S learns from the planted labels alone
focus-planted      the preset: the losses of focus and the planted labels
skin-colour        the fits of mofa, masks of a Gaussian of skin colours
colour-histograms  the fits of pretrained, masks of an EM over the colours of each picture

All models see the same pictures with pasted occluders, and their encoders take the same number of steps. Only the two
with "planted" in their name know which pixels were pasted: from the batches of the others, the labels are removed
(`train.py`). Without labels S must begin with preliminary masks, and is trained on those first.

The occluders of the training are drawn by the generators of the composites' families: the labelled models have learned
all of these from labels, except `cutout`. The weights and forms of the losses are those of the preset, and so is the
calibration of eta_area, except without L_nbr.
"""

from dataclasses import dataclass

from focus_ray.baselines import (
    PresetTransform,
    baseline,
    mofa,
    neighbor,
    perceptual,
    pretrained,
    with_segmentation_weights,
)
from focus_ray.config import RunConfig
from focus_ray.evaluation.composite_scoring import OWN
from focus_ray.focus.schedule import Schedule

FOCUS, FOCUS_PAPER, PLANTED, FOCUS_PLANTED = "focus", "focus-paper", "planted", "focus-planted"

REFERENCE = FOCUS
"""Row that the others are compared with."""


@dataclass(frozen=True)
class AblationRow:
    """A row of the table: its title, the model that is fitted, and the mask, a name of `composite_scoring`."""

    title: str
    model: str
    mask: str = OWN


def encoder_steps(schedule: Schedule) -> int:
    """Return the number of steps that the encoder takes after the warm-up."""
    return schedule.init_steps + schedule.cycles * schedule.face_steps


def focus(base: RunConfig) -> RunConfig:
    """Train the preset without planted labels: S begins with preliminary masks and knows no pasted pixel.

    L_teacher, the comparison with refined fits and the calibration stay. The preset's own first training of S is kept;
    without one, S gets as many steps as the initialisation has.
    """
    schedule = base.schedule
    steps = schedule.pretrain_seg_steps or schedule.init_steps
    changed = with_segmentation_weights(base, {"eta_planted": 0.0})
    return changed.model_copy(update={"schedule": schedule.model_copy(update={"pretrain_seg_steps": steps})})


def focus_paper(base: RunConfig) -> RunConfig:
    """Train without planted labels, L_teacher and the comparison with refined fits: the paper has none of them."""
    em = focus(base).em
    reconstruction = em.reconstruction.model_copy(update={"lambda_teacher": 0.0})
    changes = {"reconstruction": reconstruction, "teacher": None, "refined_comparison": None}
    return focus(base).model_copy(update={"em": em.model_copy(update=changes)})


def pretrained_in_full(base: RunConfig) -> RunConfig:
    """Train without EM, the encoder for its whole budget: that of the initialisation and of its part of EM."""
    before = pretrained(focus(base))
    schedule = before.schedule.model_copy(update={"init_steps": encoder_steps(base.schedule)})
    return before.model_copy(update={"schedule": schedule})


def planted_only(base: RunConfig) -> RunConfig:
    """Train S by the pasted pixels alone.

    The calibration of eta_area balances it against L_nbr; without both there is nothing to calibrate, and the guard
    restores S if its masks collapse.
    """
    none = {"eta_nbr": 0.0, "eta_dist": 0.0, "eta_area": 0.0, "eta_presv": 0.0, "eta_bin": 0.0}
    changed = with_segmentation_weights(base, none)
    return changed.model_copy(
        update={
            "em": changed.em.model_copy(update={"calibration": None}),
            "guard": changed.guard.model_copy(update={"action": "restore"}),
        }
    )


ABLATION_MODELS: dict[str, PresetTransform] = {
    "mofa": lambda base: mofa(focus(base)),
    "pretrained": pretrained_in_full,
    "baseline": lambda base: baseline(focus(base)),
    "neighbor": lambda base: neighbor(focus(base)),
    "perceptual": lambda base: perceptual(focus(base)),
    FOCUS: focus,
    FOCUS_PAPER: focus_paper,
    PLANTED: planted_only,
    FOCUS_PLANTED: lambda base: base,
}
"""Models as changes of the preset with planted occluders."""

LABELLED_MODELS = (PLANTED, FOCUS_PLANTED)
"""Models that know which pixels were pasted."""

ABLATION_ROWS: dict[str, AblationRow] = {
    "mofa": AblationRow("MoFA", "mofa", "all_ones"),
    "skin-colour": AblationRow("skin colour (fits of MoFA)", "mofa", "skin_colour"),
    "pretrained": AblationRow("Pretrained", "pretrained"),
    "colour-histograms": AblationRow("colour histograms (fits of Pretrained)", "pretrained", "colour_histograms"),
    "baseline": AblationRow("Baseline", "baseline"),
    "neighbor": AblationRow("Neighbor", "neighbor"),
    "perceptual": AblationRow("Perceptual", "perceptual"),
    FOCUS: AblationRow("FOCUS, no planted labels", FOCUS),
    FOCUS_PAPER: AblationRow("FOCUS, losses of the paper", FOCUS_PAPER),
    PLANTED: AblationRow("planted only", PLANTED),
    FOCUS_PLANTED: AblationRow("FOCUS + planted", FOCUS_PLANTED),
}
"""Rows in the order of the table."""


def model_config(base: RunConfig, name: str) -> RunConfig:
    """Return the configuration of a model of ABLATION_MODELS; the run is named after it.

    Args:
        base: preset with planted occluders.
        name: key of ABLATION_MODELS.
    """
    return ABLATION_MODELS[name](base).model_copy(update={"preset": name})
