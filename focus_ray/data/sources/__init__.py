"""Readers of the paper's data sets in their published layouts."""

from pathlib import Path

from focus_ray.data.picture_source import PictureSource, open_picture_source
from focus_ray.data.sources import celebahq
from focus_ray.data.sources.ar import MASKS, read_ar
from focus_ray.data.sources.celebahq import read_celebahq
from focus_ray.data.sources.description import Layout, read_description
from focus_ray.data.sources.files import list_files
from focus_ray.data.sources.labelled import LabelledPictures
from focus_ray.data.sources.now import NowDataset, NowSplit
from focus_ray.errors import DataError

__all__ = ["open_labelled", "open_now"]


def open_labelled(root: str | Path) -> LabelledPictures:
    """Open the AR database or CelebAMask-HQ, whichever is in a folder or below s3://bucket/prefix.

    Args:
        root: folder or URI of the data set.

    Raises:
        DataError: the data set is neither of them, or cannot be used.
        StorageError: the store does not answer.
    """
    source = open_picture_source(root)
    described = read_description(source)
    layout = _detect_layout(source) if described is None else described.layout
    if layout == "now":
        raise DataError(f"{source}: NoW has no masks; give the AR database or CelebAMask-HQ")
    return read_ar(root) if layout == "ar" else read_celebahq(root)


def open_now(root: str | Path, split: NowSplit = "validation") -> NowDataset:
    """Open the NoW challenge in a folder.

    Args:
        root: folder that the NoW archives were unpacked in.
        split: split of the challenge.

    Raises:
        DataError: the folder or the split's list is missing or unreadable.
    """
    return NowDataset(root, split)


def _detect_layout(source: PictureSource) -> Layout:
    if list_files(source, celebahq.PICTURES, limit=1):
        return "celebahq"
    if list_files(source, MASKS, limit=1):
        return "ar"
    raise DataError(
        f"{source}: there is neither {celebahq.PICTURES}/ (CelebAMask-HQ) nor {MASKS}/ (AR database); "
        "give the folder that contains one of them"
    )
