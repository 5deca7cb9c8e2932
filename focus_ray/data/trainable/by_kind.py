"""The layouts that can be prepared, by name."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from focus_ray.data.trainable.annotated_folder import open_300w, open_300w_lp, open_aflw2000
from focus_ray.data.trainable.labelled_sets import open_ar, open_celebahq
from focus_ray.data.trainable.now_set import open_now_set
from focus_ray.data.trainable.photograph_folder import open_deep3d, open_folder
from focus_ray.data.trainable.trainable_set import TrainableSet
from focus_ray.licences.terms import DATA, DATA_SETS, Terms

SetKind = Literal["celebahq", "ar", "now", "300w-lp", "aflw2000", "300w", "deep3d", "folder"]


class Layout(NamedTuple):
    """A layout: the function that opens it, the name of the set, and its terms."""

    open: Callable[[str], TrainableSet]
    source: str
    terms: Terms


_WEB = DATA_SETS["AFLW2000-3D, 300-W, 300W-LP"]
KINDS: dict[SetKind, Layout] = {
    "celebahq": Layout(open_celebahq, "CelebAMask-HQ", DATA_SETS["CelebAMask-HQ"]),
    "ar": Layout(open_ar, "AR", DATA_SETS["AR"]),
    "now": Layout(open_now_set, "NoW", DATA_SETS["NoW"]),
    "300w-lp": Layout(open_300w_lp, "300W-LP", _WEB),
    "aflw2000": Layout(open_aflw2000, "AFLW2000-3D", _WEB),
    "300w": Layout(open_300w, "300-W", _WEB),
    "deep3d": Layout(open_deep3d, "photographs", DATA["photographs"]),
    "folder": Layout(open_folder, "photographs", DATA["photographs"]),
}


def open_trainable(kind: SetKind, location: str) -> TrainableSet:
    """Open a data set to prepare.

    Args:
        kind: its layout.
        location: its folder; for the layouts of pictures without .pts, .mat or NoW's lists also s3://bucket/prefix.

    Raises:
        DataError: the folder has another layout; the message says what is missing and where it is expected.
        StorageError: the store does not answer.
    """
    return KINDS[kind].open(location)
