"""Held-out photographs: by person where names tell, else by picture, never all, the same for every call."""

import pytest

from focus_ray.data.photo_split import PhotoSplit, group_by_person
from focus_ray.data.photos import PhotoFolder

ANNA_AND_OTHERS = [f"anna_{number}.jpg" for number in range(9)] + ["bob-1.jpg", "bob-2.jpg", "cid.jpg"]


class Named(PhotoFolder):
    """Photographs of which only the names matter."""

    def __init__(self, names: list[str]):
        self.names = names
        self._kept = {}
        self.memory_mb = 0.0


def split(names: list[str], share: float, seed: int = 0) -> PhotoSplit:
    return PhotoSplit(Named(names), share, seed)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/1.jpg", "b/1.jpg", "a/2.jpg"], [[0, 2], [1]]),
        (["set/a/x.jpg", "set/b/x.jpg", "y.jpg"], [[2], [0], [1]]),
        (["images/000001.png", "images/000002.png"], [[0], [1]]),
        (["anna_1.jpg", "anna (2).png", "bob.jpg"], [[0, 1], [2]]),
        (["IMG_0001.jpg", "IMG_0002.jpg"], [[0, 1]]),
    ],
)
def test_persons_by_their_names(names, expected):
    assert group_by_person(names) == expected


@pytest.mark.parametrize("seed", range(5))
def test_persons_are_held_out_whole(seed):
    parts = split(ANNA_AND_OTHERS, 0.25, seed)
    assert parts.heldout.numbers == [9, 10, 11]
    assert parts.train.numbers == list(range(9))
    assert parts.shown.numbers == [9, 10, 11, *range(9)]
    assert "3 of 12" in parts.notes[0]
    assert "by person, from file names" in parts.notes[0]


def test_pictures_are_drawn_where_no_person_fits():
    names = [f"IMG_{number:04d}.jpg" for number in range(40)]
    first, again, other = split(names, 0.1), split(names, 0.1), split(names, 0.1, seed=1)
    assert len(first.heldout) == 4
    assert first.heldout.numbers == again.heldout.numbers != other.heldout.numbers
    assert sorted(first.shown.numbers) == list(range(40))
    assert "a person may be in both parts" in first.notes[0]


@pytest.mark.parametrize(("count", "share"), [(1, 0.9), (3, 0.1), (40, 0.0)])
def test_with_too_few_photographs_those_trained_on_are_scored(count, share):
    parts = split([f"{number}.jpg" for number in range(count)], share)
    assert (len(parts.heldout), len(parts.train)) == (0, count)
    assert parts.scored is parts.train
    assert "is held out: metrics are" in parts.notes[0]


def test_one_photograph_at_least_is_trained_on():
    assert len(split([f"{number}.jpg" for number in range(7)], 1 - 1e-12).train) == 1
