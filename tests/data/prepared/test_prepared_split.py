"""Splits of prepared stores."""

import pytest

from focus_ray.data.prepared.prepared_photos import PreparedPhotos
from focus_ray.data.prepared.prepared_split import PreparedSplit
from focus_ray.errors import DataError
from tests.data.prepared.stores import SIZE, photographs, prepared


@pytest.fixture(scope="module")
def celeba(celebahq, tmp_path_factory):
    place = tmp_path_factory.mktemp("celeba")
    prepared("celebahq", celebahq, place)
    return PreparedPhotos(str(place), SIZE)


def test_a_set_with_splits_uses_its_own(celeba):
    split = PreparedSplit(celeba, 0.5, 0)
    by_split = {name: [row.name for row in celeba.rows if row.split == name] for name in ("train", "val", "test")}
    assert {celeba.names[number] for number in split.train.numbers} == set(by_split["train"])
    assert {celeba.names[number] for number in split.heldout.numbers} == set(by_split["val"])
    assert by_split["test"]
    assert "2 records of the split val" in split.notes[0]


def test_the_order_has_each_record_once_a_pass(celeba):
    train = PreparedSplit(celeba, 0.0, 0).train
    seen = [number for step in range(len(train)) for number in train.step_numbers(4, step, 3)]
    assert sorted(seen) == sorted(3 * list(range(len(train))))


def test_persons_are_held_out_whole(ar, tmp_path):
    photos = tmp_path / "store"
    prepared("folder", photographs(ar, tmp_path / "photos"), photos)
    split = PreparedSplit(PreparedPhotos(str(photos), SIZE), 0.4, 0)
    rows = split.photos.rows
    people = [{rows[number].person for number in part.numbers} for part in (split.train, split.heldout)]
    assert people[1]
    assert not people[0] & people[1]


def test_a_set_for_evaluation_is_refused(ar, tmp_path):
    prepared("ar", ar, tmp_path / "store")
    with pytest.raises(DataError, match="the splits test of AR, which are for evaluation; train on another set"):
        PreparedSplit(PreparedPhotos(str(tmp_path / "store"), SIZE), 0.1, 0)
