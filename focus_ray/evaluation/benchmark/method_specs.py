"""Methods under comparison, by their names in the paper's tables: the fitted model, and the rule for its mask."""

from dataclasses import dataclass
from typing import Literal

MaskMethod = Literal["own", "all_ones", "skin_colour", "colour_histograms"]


@dataclass(frozen=True)
class MethodSpec:
    """A method: its trained model, its mask rule, and whether the misfit prior corrects its meshes."""

    model: str
    mask_method: MaskMethod = "own"
    prior: bool = False


METHOD_SPECS: dict[str, MethodSpec] = {
    "MoFA": MethodSpec("mofa", "all_ones"),
    "Backbone": MethodSpec("backbone", "all_ones"),
    "Backbone-Supervised": MethodSpec("backbone-supervised", "all_ones"),
    "Backbone-cutmix": MethodSpec("backbone-cutmix", "all_ones"),
    "Backbone-cutout": MethodSpec("backbone-cutout", "all_ones"),
    "Deep3D-style": MethodSpec("backbone", "skin_colour"),
    "Egger-style": MethodSpec("pretrained", "colour_histograms"),
    "Pretrained": MethodSpec("pretrained"),
    "Baseline": MethodSpec("baseline"),
    "Neighbor": MethodSpec("neighbor"),
    "Perceptual": MethodSpec("perceptual"),
    "FOCUS": MethodSpec("focus"),
    "FOCUS-MP": MethodSpec("focus", prior=True),
}

FOCUS, PRETRAINED = "focus", "pretrained"
"""Model of the preset, and the pretrained model from which its EM starts."""
EM_MODELS = (FOCUS, "baseline", "neighbor", "perceptual")
"""Models that differ in EM only; each starts from the pretrained model of its seed."""
MISFIT = "misfit"
"""R_syn, with which the prior of FOCUS-MP is measured."""

TRAINED_MODELS = (*dict.fromkeys(one.model for one in METHOD_SPECS.values()), MISFIT)
"""All models that are trained."""


def required_models(methods: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the models to train for some methods."""
    chosen = [METHOD_SPECS[name] for name in methods]
    needed = [PRETRAINED] if any(one.model in EM_MODELS for one in chosen) else []
    needed += [one.model for one in chosen] + ([MISFIT] if any(one.prior for one in chosen) else [])
    return tuple(dict.fromkeys(needed))
