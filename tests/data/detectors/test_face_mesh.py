"""The face mesh: pixel convention, the table of 68 points, and views of boxes and points."""

import numpy as np
import pytest

from focus_ray.data.align import rotated_view
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.detectors.face_mesh import IBUG_OF_MESH, SIDE, FaceMesh, view_of_box, view_of_points
from focus_ray.data.detectors.weight_files import MESH_FILE
from focus_ray.data.landmark_check import validate_landmarks


@pytest.fixture(scope="module")
def mesh(mesh_spec: DetectorSpec) -> FaceMesh:
    return FaceMesh(mesh_spec.weights[MESH_FILE])


def test_the_landmarks_are_those_of_a_face_in_ibugs_order(mesh: FaceMesh, astronaut: np.ndarray):
    seen = mesh.locate(astronaut, view_of_box(np.array([225.0, 125.0]), 95.0, 0.0))
    assert seen.presence > 0.99
    validate_landmarks(seen.landmarks, 512, 512)
    assert len(set(IBUG_OF_MESH.tolist())) == 68


def test_a_mirrored_picture_gives_mirrored_points(mesh: FaceMesh, astronaut: np.ndarray):
    """The mean over the mesh: single points have other neighbours on the other side."""
    view = rotated_view(225.0, 125.0, 1.3, 0.0, SIDE)
    mirrored = rotated_view(511 - 225.0, 125.0, 1.3, 0.0, SIDE)
    points = mesh.locate(astronaut, view).points
    other = mesh.locate(np.ascontiguousarray(astronaut[:, ::-1]), mirrored).points
    assert (511 - other.mean(axis=0)[0]) == pytest.approx(points.mean(axis=0)[0], abs=0.5)


def test_nothing_is_present_where_no_face_is(mesh: FaceMesh, astronaut: np.ndarray):
    assert mesh.locate(astronaut, view_of_box(np.array([400.0, 400.0]), 95.0, 0.0)).presence < 0.1


@pytest.mark.parametrize("degrees", [0.0, 30.0, 200.0])
def test_the_view_of_points_is_upright_and_fits_their_box(degrees: float):
    points = np.random.default_rng(0).uniform(-40, 40, (468, 2))
    points[33], points[263] = (-20.0, 0.0), (20.0, 0.0)  # the outer corners of the eyes
    turn = rotated_view(0.0, 0.0, 1.0, -degrees, 1)
    view = view_of_points(turn.to_crop(points))
    seen = view.to_crop(turn.to_crop(points))
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    np.testing.assert_allclose(middle, [(SIDE - 1) / 2] * 2, atol=1e-6)
    assert np.ptp(seen, axis=0).max() == pytest.approx(SIDE / 1.5)
    assert seen[263, 1] == pytest.approx(seen[33, 1])
    assert seen[263, 0] > seen[33, 0]
