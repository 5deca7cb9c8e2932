"""Predictions in a folder."""

import numpy as np
import pytest

from focus_ray.errors import DataError, LandmarkError
from focus_ray.evaluation.now.submission import Submission, read_now_landmarks
from tests.evaluation.now.faces import cap, write_submission

NAME = "anna/selfie/IMG_1"


@pytest.fixture
def submission(tmp_path):
    return Submission(write_submission(tmp_path / "ours", [f"{NAME}.jpg"]))


def test_what_was_written_is_read(submission):
    prediction = submission.read(NAME)
    assert prediction.mesh.vertices.shape == cap(0).mesh.vertices.shape
    np.testing.assert_array_equal(prediction.mesh.faces, cap(0).mesh.faces)
    assert [path.name for path in submission.mesh_files(NAME)] == ["IMG_1.ply"]


def test_units_become_mm(submission):
    metres = Submission(submission.folder, unit="m").read(NAME)
    np.testing.assert_allclose(metres.mesh.vertices, 1000 * submission.read(NAME).mesh.vertices)
    np.testing.assert_allclose(metres.landmarks, 1000 * submission.read(NAME).landmarks)


def test_obj_and_npy_come_first(submission):
    path = submission.folder / NAME
    path.with_suffix(".obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    path.with_suffix(".txt").write_text("0 0 0\n" * 7)
    assert len(submission.read(NAME).mesh.vertices) == 3
    assert np.ptp(submission.read(NAME).landmarks) > 0


def test_landmarks_as_text(tmp_path):
    points = cap(1).landmarks
    np.savetxt(tmp_path / "a.txt", points)
    np.testing.assert_allclose(read_now_landmarks(tmp_path / "a.txt"), points)


def test_what_is_missing_is_named(submission, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        Submission(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"there is no mesh; add bert/selfie/a\.obj"):
        submission.read("bert/selfie/a")
    (submission.folder / NAME).with_suffix(".npy").unlink()
    with pytest.raises(LandmarkError, match="there are no landmarks"):
        submission.read(NAME)


def test_a_cloud_of_points_is_refused(submission):
    (submission.folder / NAME).with_suffix(".obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    with pytest.raises(DataError, match="no triangles"):
        submission.read(NAME)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((68, 3)), r"shape \(68, 3\) instead of \(7, 3\)"),
        (np.full((7, 3), np.nan), "not finite"),
        (np.array([[{}] * 3] * 7), "cannot be read"),
        (np.zeros((7, 3), dtype=complex), "cannot be read"),
    ],
)
def test_wrong_arrays_are_refused(array, message, tmp_path):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(LandmarkError, match=message):
        read_now_landmarks(tmp_path / "a.npy")


def test_damaged_files_are_refused_whatever_they_claim(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((7, 3)))
    whole = path.read_bytes()
    claims_more = whole.replace(b"(7, 3), }", b"(7000000000, 3), }")[:200]
    for content in (whole[:-1], whole[:20], b"x" * 100, b"", claims_more):
        path.write_bytes(content)
        with pytest.raises(LandmarkError, match=r"cannot be read|empty"):
            read_now_landmarks(path)


@pytest.mark.parametrize(
    "text", ["1 2 3\n" * 6, "1 2\n" * 7, "1 2 3\n" * 6 + "1 2\n", "a b c\n" * 7, "nan 0 0\n" * 7, "\n"]
)
def test_wrong_text_is_refused(text, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(LandmarkError):
        read_now_landmarks(tmp_path / "a.txt")
