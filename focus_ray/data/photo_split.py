"""Held-out share of the photographs: seeded, by person where file names identify persons."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from focus_ray.data.photos import PhotoFace, Photographs
from focus_ray.data.sample import Batch
from focus_ray.data.sampler import batch_indices

_TRAILING_NUMBER = re.compile(r"[\W_]*\d+\W*$")


class PhotoSubset:
    """A subset of a folder's photographs, numbered from 0."""

    def __init__(self, photos: Photographs, numbers: Sequence[int]):
        """Select photographs of a folder.

        Args:
            photos: all photographs of the folder.
            numbers: numbers of the selected photographs in the folder.
        """
        self.photos = photos
        self.numbers = list(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, indices: Sequence[int], seed: int | None = None, epoch: int = 0) -> Batch:
        """Return the photographs with these numbers, as PhotoFolder.batch does.

        Args:
            indices: numbers in the subset, taken modulo its length.
            seed: seed of the augmentation; None means no augmentation.
            epoch: pass over the photographs; each pass has its own augmentation.
        """
        return self.photos.batch([self.numbers[index % len(self)] for index in indices], seed, epoch)

    def step_numbers(self, seed: int, step: int, batch_size: int) -> list[int]:
        """Return the photographs of a global step, as numbers in the subset.

        Args:
            seed: seed of the run.
            step: global step.
            batch_size: photographs of a global batch.
        """
        return batch_indices(seed, step, batch_size, len(self))

    def face(self, index: int) -> PhotoFace:
        """Return the surroundings of the face of the photograph with this number in the subset."""
        return self.photos.face(self.numbers[index])


class PhotoSplit:
    """A folder's photographs, split into a training part and a held-out part that may be empty.

    Of n photographs at most share x n are held out, so at least one is trained on. Whole persons are drawn by the seed
    and held out as far as they fit. If no person fits, single photographs are drawn, and a person may be in both parts.
    """

    def __init__(self, photos: Photographs, share: float, seed: int):
        """Split the photographs of a folder.

        Args:
            photos: all photographs of the folder.
            share: largest held-out share, in [0, 1).
            seed: seed of the draw.
        """
        room = min(int(share * len(photos) + 1e-9), len(photos) - 1)
        people = group_by_person(photos.names)
        heldout = sample_groups(people, room, seed)
        self.split_by_person = bool(heldout) and len(people) < len(photos)
        heldout = heldout or sample_groups([[number] for number in range(len(photos))], room, seed)
        self.photos = photos
        self.heldout = PhotoSubset(photos, heldout)
        self.train = PhotoSubset(photos, sorted(set(range(len(photos))) - set(heldout)))

    @property
    def scored(self) -> PhotoSubset:
        """The photographs that metrics are computed on: the held-out ones, or the training ones if none is held out."""
        return self.heldout if len(self.heldout) else self.train

    @property
    def shown(self) -> PhotoSubset:
        """All photographs, the held-out ones first."""
        return PhotoSubset(self.photos, [*self.heldout.numbers, *self.train.numbers])

    @property
    def notes(self) -> list[str]:
        """Notes for the user on the split and on the cache, one line each."""
        return [line for line in (self._scoring_note, self.photos.read_again) if line is not None]

    @property
    def _scoring_note(self) -> str:
        if not len(self.heldout):
            return f"none of {len(self.photos)} photographs is held out: metrics are those of the training photographs"
        how = "by person, from file names" if self.split_by_person else "by photograph: a person may be in both parts"
        return f"{len(self.heldout)} of {len(self.photos)} photographs are held out for the metrics ({how})"


def group_by_person(names: Sequence[str]) -> list[list[int]]:
    """Group the numbers of file names by person.

    If the pictures lie in more than one folder, each folder is a person. Otherwise the person is the part of the file
    name before a trailing number (anna_2.jpg: anna); a name without such a part is a person of its own.

    Args:
        names: file names relative to the folder of the pictures, in POSIX form.

    Returns:
        Indices into `names`, one list per person.
    """
    grouped: dict[str, list[int]] = defaultdict(list)
    for number, person in enumerate(name_persons(names)):
        grouped[person].append(number)
    return [grouped[person] for person in sorted(grouped)]


def name_persons(names: Sequence[str]) -> list[str]:
    """Return the person of each file name, see `group_by_person`.

    Args:
        names: file names relative to the folder of the pictures, in POSIX form.
    """
    paths = [PurePosixPath(name) for name in names]
    several_folders = len({path.parent for path in paths}) > 1
    parts = (str(path.parent) if several_folders else _TRAILING_NUMBER.sub("", path.stem) for path in paths)
    return [part or path.name for part, path in zip(parts, paths, strict=True)]


def sample_groups(groups: Sequence[Sequence[int]], max_count: int, seed: int) -> list[int]:
    """Draw whole groups in an order given by the seed; a group that does not fit into the remaining room is skipped.

    Args:
        groups: the numbers of each group.
        max_count: most numbers drawn.
        seed: seed of the order.

    Returns:
        The drawn numbers, ascending.
    """
    taken: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(groups)):
        if len(taken) + len(groups[index]) <= max_count:
            taken += groups[index]
    return sorted(taken)
