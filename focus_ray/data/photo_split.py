"""Held-out share of the photographs: seeded, by person where file names identify persons."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from focus_ray.data.photos import PhotoFolder
from focus_ray.data.sample import Batch

_TRAILING_NUMBER = re.compile(r"[\W_]*\d+\W*$")


class PhotoSubset:
    """Some of a folder's photographs, numbered anew from 0."""

    def __init__(self, photos: PhotoFolder, numbers: Sequence[int]):
        """numbers: of the photographs in the folder."""
        self.photos = photos
        self.numbers = list(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, indices: Sequence[int], seed: int | None = None, epoch: int = 0) -> Batch:
        """The photographs with these numbers, taken modulo their count, as PhotoFolder.batch gives them."""
        return self.photos.batch([self.numbers[index % len(self)] for index in indices], seed, epoch)


class PhotoSplit:
    """The photographs of a folder that are trained on and those that are held out, which may be none.

    Of n photographs at most share x n are held out, so at least one is trained on. Persons are drawn by the seed and
    held out whole, as far as they fit; where not one fits, photographs are drawn, and persons may be in both parts.
    """

    def __init__(self, photos: PhotoFolder, share: float, seed: int):
        """share: in [0, 1)."""
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
        """What figures are of: the photographs held out; those trained on where none is."""
        return self.heldout if len(self.heldout) else self.train

    @property
    def shown(self) -> PhotoSubset:
        """All photographs, those held out first."""
        return PhotoSubset(self.photos, [*self.heldout.numbers, *self.train.numbers])

    @property
    def notes(self) -> list[str]:
        """What a user should know before training, a line each."""
        return [line for line in (self._scoring_note, self.photos.read_again) if line is not None]

    @property
    def _scoring_note(self) -> str:
        if not len(self.heldout):
            return f"nothing is held out of {len(self.photos)} photographs: figures are of those trained on"
        how = "whole persons by their names" if self.split_by_person else "single photographs: persons may be in both"
        return f"{len(self.heldout)} of {len(self.photos)} photographs are held out for the figures ({how})"


def group_by_person(names: Sequence[str]) -> list[list[int]]:
    """The numbers of the names by person, as far as names tell.

    A person is the folder that pictures lie in, where they lie in more than one. Else it is what stands before a number
    at the end of the file name (anna_2.jpg: anna); a name without the one or the other is a person by itself.
    """
    paths = [PurePosixPath(name) for name in names]
    several_folders = len({path.parent for path in paths}) > 1
    grouped: dict[str, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        person = str(path.parent) if several_folders else _TRAILING_NUMBER.sub("", path.stem)
        grouped[person or path.name].append(number)
    return [grouped[person] for person in sorted(grouped)]


def sample_groups(groups: Sequence[Sequence[int]], max_count: int, seed: int) -> list[int]:
    """The numbers, in order, of groups in an order by the seed, each taken if it fits into what is left of the room."""
    taken: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(groups)):
        if len(taken) + len(groups[index]) <= max_count:
            taken += groups[index]
    return sorted(taken)
