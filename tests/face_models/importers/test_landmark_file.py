"""Landmark files: text and JSON, vertices and weighted vertices; anything else is refused."""

import json

import numpy as np
import pytest

from focus_ray.errors import FaceModelError
from focus_ray.face_models.importers.landmark_file import read_landmarks

VERTICES = list(range(100, 168))


def test_vertices_are_read_from_text_and_json(tmp_path):
    (tmp_path / "a.txt").write_text("# iBUG\n" + "\n".join(f"{v}  # point" for v in VERTICES))
    (tmp_path / "a.json").write_text(json.dumps(VERTICES))
    for name in ("a.txt", "a.json"):
        hashes: dict[str, str] = {}
        places = read_landmarks(tmp_path / name, 200, hashes)
        assert places.corners[:, 0].tolist() == VERTICES
        assert (places.weights == [1, 0, 0]).all()
        assert list(hashes) == [name]


def test_weighted_vertices_are_read(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(f"{v} 0.5 {v + 1} 0.3 {v + 2} 0.2" for v in VERTICES))
    places = read_landmarks(tmp_path / "a.txt", 200, {})
    np.testing.assert_array_equal(places.corners[0], [100, 101, 102])
    np.testing.assert_allclose(places.weights[67], [0.5, 0.3, 0.2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\n".join(map(str, VERTICES[:-1])),
            "has not 68 rows of a vertex, or of three vertices with weights; repair it",
        ),
        ("\n".join(f"{v} 1.0" for v in VERTICES), "has not 68 rows"),
        ("1 2\n3\n", "has not 68 rows"),
        ("[" * 100_000, "has not 68 rows"),
        ("nan\n" * 68, "has not 68 rows"),
        ("1e400\n" * 68, "has not 68 rows"),
        ("text\n" * 68, "has not 68 rows"),
        ("200\n" * 68, r"has a vertex that is not one of 0\.\.199; repair it"),
        ("-1\n" * 68, "has a vertex that is not one of"),
        ("1.5\n" * 68, "has a vertex that is not one of"),
        ("1 .5 2 .5 3 .5\n" * 68, "has weights that do not sum to 1; repair it"),
    ],
)
def test_malformed_files_are_refused(text, message, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(FaceModelError, match=message):
        read_landmarks(tmp_path / "a.txt", 200, {})
