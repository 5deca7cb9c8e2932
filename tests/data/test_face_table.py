"""Tables of faces: what is written is read, damage is noticed, and a file per face has what a program needs."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from focus_ray.data.detect_landmarks import PictureFaces
from focus_ray.data.detectors.detection import Detection
from focus_ray.data.face_table import decode_table, encode_table, picture_table, read_pictures, write_faces
from focus_ray.errors import DataError

RNG = np.random.default_rng(0)
LARGE = Detection((1.5, 2.5, 30.0, 40.0), score=0.9, landmarks=RNG.random((68, 2)) * 99, mesh=RNG.random((468, 2)) * 99)
SMALL = Detection((3.0, 4.0, 5.0, 6.0), score=7.0)
PICTURES = [
    PictureFaces("inv\udcff.png", "several_faces", faces=[LARGE, SMALL]),
    PictureFaces("deep/é,1.png", "no_face", "deep/é,1.png: no face was found"),
    PictureFaces("c.png", "unreadable", "c.png: damaged", "damaged"),
    PictureFaces("d.png", "face_too_small", "d.png: small", faces=[SMALL]),
]


def test_pictures_survive_the_file():
    content = encode_table(picture_table(PICTURES, ["1 2", "3", "", "4"]))
    table = decode_table(content, "shard")
    assert table["version"].to_pylist() == ["1 2", "3", "", "4"]
    read = list(read_pictures(table))
    for ours, theirs in zip(PICTURES, read, strict=True):
        assert (ours.name, ours.reason, ours.message, ours.kind) == (
            theirs.name,
            theirs.reason,
            theirs.message,
            theirs.kind,
        )
        assert [one.box for one in ours.faces] == [one.box for one in theirs.faces]
        assert [one.score for one in ours.faces] == [one.score for one in theirs.faces]
    first = read[0].faces[0]
    assert first.landmarks is not None
    assert first.mesh is not None
    np.testing.assert_array_equal(first.landmarks, np.float32(LARGE.landmarks))
    np.testing.assert_array_equal(first.mesh, np.float32(LARGE.mesh))
    assert read[0].faces[1].landmarks is None
    assert picture_table(read, ["1 2", "3", "", "4"]) == table


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: b"", lambda c: c[:60] + b"\xff" * 20 + c[80:]])
def test_damage_is_noticed(damage):
    with pytest.raises(DataError, match="shard is damaged"):
        decode_table(damage(encode_table(picture_table(PICTURES, ["", "", "", ""]))), "shard")


def test_another_schema_is_an_error():
    table = picture_table(PICTURES, ["", "", "", ""]).drop_columns(["kind"])
    with pytest.raises(DataError, match="shard has another schema"):
        decode_table(encode_table(table), "shard")


def test_a_row_for_each_face(tmp_path: Path):
    path = tmp_path / "landmarks.parquet"
    many = [PictureFaces(f"{number:04}.png", "found", faces=[LARGE]) for number in range(600)]
    write_faces(path, iter([*PICTURES, *many]), {"detector": {"name": "mesh"}})
    table = pq.read_table(path)
    assert json.loads(table.schema.metadata[b"focus-ray"]) == {"detector": {"name": "mesh"}}
    rows = table.to_pylist()
    assert [(row["name"], row["face"], row["used"]) for row in rows[:4]] == [
        ("inv\\xff.png", 0, True),
        ("inv\\xff.png", 1, False),
        ("d.png", 0, False),
        ("0000.png", 0, True),
    ]
    assert len(rows) == 603
    assert [rows[0][side] for side in ("x", "y", "width", "height", "score")] == [1.5, 2.5, 30.0, 40.0, 0.9]
    assert (len(rows[0]["landmarks"]), len(rows[0]["mesh"])) == (136, 936)
    assert (rows[1]["landmarks"], rows[1]["mesh"]) == (None, None)


def test_no_faces_are_an_empty_table(tmp_path: Path):
    write_faces(tmp_path / "none.parquet", PICTURES[1:3], {})
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0
