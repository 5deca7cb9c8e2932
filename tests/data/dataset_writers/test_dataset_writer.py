"""Layouts as wholes: what is told, what is refused, nothing half written."""

import json

import pytest

from focus_ray.data.dataset_writers import ar_writer, write_dataset
from focus_ray.data.sources import open_labelled, open_now
from focus_ray.data.sources.now_pictures import NowPictures
from focus_ray.errors import DataError
from tests.data.dataset_writers.sets import SEED, SIZE, N, world


@pytest.mark.parametrize("layout", ["now", "ar", "celebahq"])
def test_a_set_says_what_it_is(layout, request):
    said = json.loads((request.getfixturevalue(layout) / "dataset.json").read_text())
    assert said == {
        "format": 1,
        "layout": layout,
        "synthetic": True,
        "aligned": True,
        "image_size": SIZE,
        "seed": SEED,
        "n": N[layout],
    }


def test_the_same_seed_gives_the_same_files_and_progress_is_told(ar, tmp_path):
    told = []
    write_dataset("ar", tmp_path / "again", N["ar"], SEED, SIZE, lambda *done: told.append(done), world())
    assert told == [(done, N["ar"]) for done in range(1, N["ar"] + 1)]
    files = {path.relative_to(ar): path.read_bytes() for path in ar.rglob("*") if path.is_file()}
    assert len(files) == 2 * N["ar"] + 3
    assert files == {name: (tmp_path / "again" / name).read_bytes() for name in files}


@pytest.mark.parametrize("layout", ["now", "ar", "celebahq"])
def test_one_picture_is_a_set_too(layout, tmp_path):
    write_dataset(layout, tmp_path / "one", 1, size=16, world=world())
    if layout == "now":
        pictures = NowPictures(open_now(tmp_path / "one"))
        assert pictures.pairs() == []
    else:
        pictures = open_labelled(tmp_path / "one")
        assert pictures.missing == []
    assert len(pictures.names) == 1


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty; choose a new folder"):
        write_dataset("ar", tmp_path, 1, world=world())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_set_that_cannot_be_finished_is_not_there(tmp_path, monkeypatch):
    def stops(*_):
        raise DataError("no more")

    monkeypatch.setattr(ar_writer, "write_names", stops)
    with pytest.raises(DataError, match="no more"):
        write_dataset("ar", tmp_path / "set", 2, size=16, world=world())
    assert list(tmp_path.iterdir()) == []
