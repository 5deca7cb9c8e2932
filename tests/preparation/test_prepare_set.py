"""Preparation of data sets: every layout, resumed after a death, in a folder and in a bucket."""

import json
import shutil

import numpy as np
import pytest

from focus_ray.data.prepared.prepared_photos import PreparedPhotos
from focus_ray.errors import ConfigError, Interrupted
from focus_ray.preparation.prepare_shard import PrepareJob
from focus_ray.storage.open_store import open_store
from tests.data.prepared.stores import SIZE, files_of, photographs, prepared
from tests.data.trainable import layouts


@pytest.mark.parametrize(
    ("kind", "write", "records", "dropped"),
    [
        ("300w-lp", layouts.write_300w_lp, 4, {"no_annotation": 1}),
        ("aflw2000", layouts.write_aflw2000, 2, {"landmarks_rejected": 1}),
        ("300w", layouts.write_300w, 3, {}),
    ],
)
def test_annotated_folders(kind, write, records, dropped, ar, tmp_path):
    described = prepared(kind, write(ar, tmp_path / "set"), tmp_path / "store")
    assert (described.records, described.dropped) == (records, dropped)
    assert described.landmarks == {"set": records}
    assert "non-commercial" in described.terms.terms
    photos = PreparedPhotos(str(tmp_path / "store"), SIZE)
    assert photos.batch(range(records)).images.shape == (records, 3, SIZE, SIZE)


def test_masks_are_in_the_pixels_of_the_record(celebahq, tmp_path):
    described = prepared("celebahq", celebahq, tmp_path / "store")
    assert described.splits == {"test": 2, "train": 8, "val": 2}
    for number in range(described.records):
        record = PreparedPhotos(str(tmp_path / "store"), SIZE).record(number)
        assert record.mask is not None
        assert record.mask.shape == record.face.image.shape[:2]
        assert record.mask.any()


def test_killed_and_resumed_the_same_files_and_no_shard_twice(ar, tmp_path, monkeypatch):
    photos = photographs(ar, tmp_path / "photos")
    whole = prepared("folder", photos, tmp_path / "whole")
    made, piece = [], PrepareJob.piece

    def dying(job, number):
        if len(made) == 1:
            raise Interrupted("killed")
        made.append(number)
        return piece(job, number)

    monkeypatch.setattr(PrepareJob, "piece", dying)
    with pytest.raises(Interrupted):
        prepared("folder", photos, tmp_path / "resumed")
    state = tmp_path / "resumed/.prepare/00000.json"
    assert state.is_file()
    monkeypatch.setattr(PrepareJob, "piece", lambda job, number: made.append(number) or piece(job, number))
    assert prepared("folder", photos, tmp_path / "resumed") == whole
    assert made == [0, 1]
    assert files_of(tmp_path / "resumed") == files_of(tmp_path / "whole")
    prepared("folder", photos, tmp_path / "resumed")
    assert made == [0, 1], "nothing is left to do"
    picture = next(photos.glob("m-*.png"))
    shutil.copy(picture, photos / "changed.png")
    shutil.move(photos / "changed.png", picture)
    prepared("folder", photos, tmp_path / "resumed")
    assert made == [0, 1, 0], "only the shard with a changed picture is made again"


def test_other_settings_make_all_again_and_foreign_files_are_left_alone(ar, tmp_path):
    photos = photographs(ar, tmp_path / "photos")
    prepared("folder", photos, tmp_path / "store")
    said: list[str] = []
    assert prepared("folder", photos, tmp_path / "store", size=16, note=said.append).size == 16
    assert said == ["the shards in the store belong to other pictures or settings: all are made again"]
    with pytest.raises(ConfigError, match="holds other files"):
        prepared("folder", photos, photos)
    with pytest.raises(ConfigError, match="holds another prepared set"):
        prepared("ar", ar, tmp_path / "store")


def test_a_name_that_is_not_utf8_is_kept(ar, tmp_path):
    place = layouts.write_300w(ar, tmp_path / "set")
    for suffix in (".png", ".pts"):
        (place / "ibug" / f"one{suffix}").rename(place / "ibug" / f"caf\udce9{suffix}")
    first = prepared("300w", place, tmp_path / "store")
    assert prepared("300w", place, tmp_path / "store") == first
    assert "ibug/caf\udce9.png" in PreparedPhotos(str(tmp_path / "store"), SIZE).names


@pytest.mark.parametrize(("folder", "split"), [("ibug", "test"), ("helen/trainset", "train"), ("01_Indoor", "test")])
def test_one_folder_of_300w_has_its_split(ar, tmp_path, folder, split):
    place = layouts.write_300w(ar, tmp_path / "set") / folder
    assert prepared("300w", place, tmp_path / "store").splits == {split: 1}


def test_a_bucket_has_the_same_shards(celebahq, bucket, tmp_path):
    prepared("celebahq", celebahq, tmp_path / "store")
    prepared("celebahq", celebahq, f"{bucket}/store")
    remote = open_store(f"{bucket}/store")
    assert {entry.key: remote.read(entry.key) for entry in remote.list()} == files_of(tmp_path / "store")


def test_photographs_without_landmarks_get_them_and_every_loss_is_counted(folder, mesh_spec, tmp_path):
    described = prepared("folder", folder, tmp_path / "store")
    assert described.landmarks == {"detector": 3}
    assert described.dropped == {"no_face": 1, "unreadable": 1}
    assert described.detector == mesh_spec.info.label
    lines = (tmp_path / "store/dropped.csv").read_text().splitlines()
    assert lines[0] == "name,reason,message"
    assert [line.split(",")[:2] for line in lines[1:]] == [["damaged.jpg", "unreadable"], ["none.png", "no_face"]]


def test_the_face_that_is_meant_is_found(folder, mesh_spec, tmp_path):

    five = np.array([[40.0, 45.0], [70.0, 45.0], [55.0, 60.0], [45.0, 75.0], [65.0, 75.0]])
    shutil.copy(folder / "b.png", folder / "wrong.png")
    meant = {"b.png": five, "two.png": np.add(five, [112.0, 0.0]), "wrong.png": five - 40.0}
    place = layouts.write_deep3d([(folder / name, points) for name, points in meant.items()], tmp_path / "set")
    described = prepared("deep3d", place, tmp_path / "store")
    assert (described.records, described.dropped) == (2, {"other_face": 1})
    photos = PreparedPhotos(str(tmp_path / "store"), SIZE)
    assert photos.names == ["b.png", "two.png"]
    left, right = photos.face(0), photos.face(1)
    np.testing.assert_allclose(left.landmarks, right.landmarks, atol=1.5)


@pytest.mark.drill
def test_ray_tasks_make_the_same_files(ar, tmp_path):
    from focus_ray.runtime.tasks import PoolSettings

    photos = photographs(ar, tmp_path / "photos")
    prepared("folder", photos, tmp_path / "here")
    prepared("folder", photos, tmp_path / "ray", pool=PoolSettings(tasks=2))
    assert files_of(tmp_path / "here") == files_of(tmp_path / "ray")
    assert json.loads((tmp_path / "ray/prepared.json").read_text())["records"] == 8
