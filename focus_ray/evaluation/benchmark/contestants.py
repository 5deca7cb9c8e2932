"""Who is compared, by the names that the paper's tables have: which model is fitted, and which pixels count as face."""

from dataclasses import dataclass
from typing import Literal

Law = Literal["own", "all_ones", "skin_colour", "colour_histograms"]


@dataclass(frozen=True)
class Contestant:
    """A method: the model that is trained for it, the law of its mask, whether the misfit prior corrects its meshes."""

    model: str
    law: Law = "own"
    prior: bool = False


CONTESTANTS: dict[str, Contestant] = {
    "MoFA": Contestant("mofa", "all_ones"),
    "Backbone": Contestant("backbone", "all_ones"),
    "Backbone-Supervised": Contestant("backbone-supervised", "all_ones"),
    "Backbone-cutmix": Contestant("backbone-cutmix", "all_ones"),
    "Backbone-cutout": Contestant("backbone-cutout", "all_ones"),
    "Deep3D-style": Contestant("backbone", "skin_colour"),
    "Egger-style": Contestant("pretrained", "colour_histograms"),
    "Pretrained": Contestant("pretrained"),
    "Baseline": Contestant("baseline"),
    "Neighbor": Contestant("neighbor"),
    "Perceptual": Contestant("perceptual"),
    "FOCUS": Contestant("focus"),
    "FOCUS-MP": Contestant("focus", prior=True),
}

FOCUS, PRETRAINED = "focus", "pretrained"
"""The preset itself, and what its EM begins with."""
IN_EM = (FOCUS, "baseline", "neighbor", "perceptual")
"""The models that differ in EM alone: they begin with the pretrained one of their seed."""
MISFIT = "misfit"
"""R_syn, which the prior of FOCUS-MP is measured with."""

TRAINED = (*dict.fromkeys(one.model for one in CONTESTANTS.values()), MISFIT)
"""The models that are trained."""


def models_of(methods: tuple[str, ...]) -> tuple[str, ...]:
    """The models that some methods need."""
    chosen = [CONTESTANTS[name] for name in methods]
    needed = [PRETRAINED] if any(one.model in IN_EM for one in chosen) else []
    needed += [one.model for one in chosen] + ([MISFIT] if any(one.prior for one in chosen) else [])
    return tuple(dict.fromkeys(needed))
