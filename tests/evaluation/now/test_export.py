"""Our faces as predictions of the challenge."""

import numpy as np
import pytest

from focus_ray.errors import DataError
from focus_ray.evaluation.now.export import select_now_landmarks, write_prediction
from focus_ray.evaluation.now.submission import Submission
from tests.evaluation.now.faces import cap

NAME = "anna/selfie/IMG_1"


@pytest.mark.parametrize("kind", ["ply", "obj"])
@pytest.mark.parametrize("suffix", ["", ".jpg"])
def test_what_is_written_is_read(kind, suffix, tmp_path):
    face = cap(1)
    path = write_prediction(tmp_path, NAME + suffix, face.mesh.vertices, face.mesh.faces, face.landmarks, kind)
    assert path == tmp_path / f"{NAME}.{kind}"
    read = Submission(tmp_path).read(NAME)
    np.testing.assert_allclose(read.mesh.vertices, face.mesh.vertices, atol=1e-5)
    np.testing.assert_array_equal(read.mesh.faces, face.mesh.faces)
    np.testing.assert_array_equal(read.landmarks, face.landmarks)


def test_there_are_no_colours_and_no_normals(tmp_path):
    face = cap(1)
    arrays = face.mesh.vertices, face.mesh.faces, face.landmarks
    lines = write_prediction(tmp_path, NAME, *arrays, "obj").read_text().splitlines()
    assert {(line.split()[0], len(line.split())) for line in lines if line and line[0] != "#"} == {("v", 4), ("f", 4)}
    header = write_prediction(tmp_path, NAME, *arrays, "ply").read_bytes().split(b"end_header")[0]
    assert b"red" not in header
    assert b"nx" not in header


def test_the_seven_points_of_the_face_model(ellipsoid_face):
    points = select_now_landmarks(ellipsoid_face.landmarks(ellipsoid_face.mean[None])[0].double().numpy())
    right_outer, right_inner, left_inner, left_outer, nose, right_mouth, left_mouth = points
    assert right_outer[0] < right_inner[0] < 0 < left_inner[0] < left_outer[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert min(right_outer[1], left_inner[1]) > nose[1] > max(right_mouth[1], left_mouth[1])


@pytest.mark.parametrize("name", ["IMG_1", "../selfie/IMG_1", "/anna/selfie/IMG_1", "a/anna/selfie/IMG_1", ""])
def test_other_names_are_refused(name, tmp_path):
    face = cap(1)
    with pytest.raises(DataError, match="subject/challenge/name"):
        write_prediction(tmp_path, name, face.mesh.vertices, face.mesh.faces, face.landmarks)
    assert list(tmp_path.iterdir()) == []


def test_broken_faces_are_not_written(tmp_path):
    face = cap(1)
    with pytest.raises(DataError, match="not finite"):
        write_prediction(tmp_path, NAME, face.mesh.vertices * np.nan, face.mesh.faces, face.landmarks)
    with pytest.raises(DataError, match="do not fit"):
        write_prediction(tmp_path, NAME, face.mesh.vertices[:9], face.mesh.faces, face.landmarks)
    assert list(tmp_path.iterdir()) == []
