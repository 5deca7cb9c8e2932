"""What an actor of the detection returns, and its errors, which arrive as they were raised."""

import dataclasses
import pickle  # noqa: TID251  (how Ray sends the work to an actor)
from pathlib import Path

import pytest

from focus_ray.data.detect_landmarks import DetectSettings
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.face_table import PICTURE_SCHEMA, decode_name
from focus_ray.detection.actor_pool import PIECE, DetectActor, DetectWork, Piece, detect_pieces
from focus_ray.errors import ConfigError, DataError

PIECES = [
    Piece(4, ["anna/a.png", "b.png", "damaged.jpg"], ["1", "2", "3"]),
    Piece(7, ["none.png", "two.png"], ["4", "5"]),
]


@pytest.fixture
def work(mesh_spec: DetectorSpec, folder: Path) -> DetectWork:
    return DetectWork(str(folder), mesh_spec, DetectSettings())


def test_a_row_for_each_picture_with_its_piece(work: DetectWork):
    rows = [row for table in detect_pieces(work, PIECES, None) for row in table.to_pylist()]
    assert [(decode_name(row["name"]), row["reason"], row["version"], row[PIECE]) for row in rows] == [
        ("anna/a.png", "found", "1", 4),
        ("b.png", "found", "2", 4),
        ("damaged.jpg", "unreadable", "3", 4),
        ("none.png", "no_face", "4", 7),
        ("two.png", "several_faces", "5", 7),
    ]


def test_an_actor_works_after_it_was_sent(work: DetectWork):
    actor = pickle.loads(pickle.dumps(DetectActor(work)))
    table = actor(PIECES[1].table())
    assert table.select(PICTURE_SCHEMA.names).schema == PICTURE_SCHEMA
    assert table["reason"].to_pylist() == ["no_face", "several_faces"]


def test_weights_that_did_not_arrive_are_an_error_and_no_other_detector(work: DetectWork):
    without = dataclasses.replace(work, spec=dataclasses.replace(work.spec, weights={}))
    with pytest.raises(ConfigError, match="is missing; install the detector's weights"):
        next(detect_pieces(without, PIECES, None))
    other = dict.fromkeys(work.spec.weights, b"other")
    with pytest.raises(ConfigError, match="the sha256 of"):
        next(detect_pieces(dataclasses.replace(work, spec=dataclasses.replace(work.spec, weights=other)), PIECES, None))


def test_a_folder_that_is_not_on_the_node_is_an_error(work: DetectWork):
    with pytest.raises(DataError, match="no such folder of photographs"):
        next(detect_pieces(dataclasses.replace(work, location="/no/such/folder"), PIECES, None))
