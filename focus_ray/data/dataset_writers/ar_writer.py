"""Synthetic faces in the layout of the AR database: each person bare, with glasses, with a scarf, and masks."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from focus_ray.data.dataset_writers.picture_kinds import PictureKind
from focus_ray.data.dataset_writers.picture_writer import first_picture, visible_mask, write_mask, write_picture
from focus_ray.data.landmark_csv import write_landmarks
from focus_ray.data.sample import Batch
from focus_ray.data.sources.ar import MASKS, SUBSETS
from focus_ray.data.sources.labelled import LANDMARKS
from focus_ray.data.sources.subset_lists import OVERALL, write_names

KINDS = (
    PictureKind("neutral", occluded=0.0),
    PictureKind("glasses", occluded=1.0, families=("sunglasses", "glasses")),
    PictureKind("scarf", occluded=1.0, families=("scarf",)),
)
"""Kinds of pictures of a person: the subsets of Table 4."""


def write_ar(folder: Path, pictures: Iterable[tuple[int, Batch]], on_written: Callable[[int], object]) -> None:
    """Write pictures in the layout of the AR database; they are PNG, the pixels of the synthetic world.

    Args:
        folder: an empty folder.
        pictures: number of each picture and a batch of it alone.
        on_written: called with the number of each written picture.

    Raises:
        DataError: a picture cannot be encoded.
    """
    landmarks: dict[str, np.ndarray] = {}
    for index, batch in pictures:
        file = file_name(index)
        write_picture(folder / file, first_picture(batch))
        write_mask(folder / MASKS / file, visible_mask(batch))
        landmarks[file] = batch.landmarks[0].numpy()
        on_written(index)
    write_landmarks(folder / LANDMARKS, landmarks)
    write_names(folder / OVERALL, landmarks)


def file_name(index: int) -> str:
    """Return the name of a picture: persons alternate between m and w, the last number is the first of the kind."""
    person, kind = divmod(index, len(KINDS))
    return f"{'mw'[person % 2]}-{person // 2 + 1:03d}-{SUBSETS[KINDS[kind].name][0]:02d}.png"
