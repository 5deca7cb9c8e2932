"""Given landmarks: what can be a face in its picture, and what cannot."""

from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.landmark_check import MEAN_LANDMARKS, estimate_yaw, validate_landmarks
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces
from focus_ray.errors import LandmarkError

POINTS = 0.5 * MEAN_LANDMARKS[:, :2] * [1, -1] + 50


def with_value(value: float) -> np.ndarray:
    points = POINTS.copy()
    points[3, 1] = value
    return points


def test_arrays_and_lists_of_numbers():
    np.testing.assert_array_equal(validate_landmarks(POINTS, 100, 100), POINTS)
    np.testing.assert_array_equal(validate_landmarks(POINTS.tolist(), 100, 100), POINTS)
    np.testing.assert_array_equal(validate_landmarks(POINTS - 60, 100, 100), POINTS - 60)  # partly outside
    assert validate_landmarks(POINTS.round().astype(int), 100, 100).dtype == np.float64


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (None, "not 68 pairs"),
        ("x", "not 68 pairs"),
        (POINTS[:67], "not 68 pairs"),
        (POINTS.reshape(-1), "not 68 pairs"),
        ([[1, 2], [3]], "not 68 pairs"),
        (POINTS + 1j, "not 68 pairs"),
        (POINTS.astype(str), "not 68 pairs"),
        (with_value(np.nan), "not 68 pairs"),
        (with_value(np.inf), "not 68 pairs"),
        (np.full((68, 2), 5.0), "one point or line"),
        (POINTS * [1, 0], "one point or line"),
        (POINTS / 100, "span 0.7. x 0.6. px.*not fractions of its size"),
        (POINTS[::-1], "not have the shape of a face"),
        (POINTS * [1.0, 0.4], "not have the shape of a face"),
        (POINTS * [1, -1] + [0, 79], "mirrored face"),
        (POINTS * [-1, 1] + [99, 0], "mirrored face"),
        (POINTS[:, ::-1], "mirrored face"),
        (POINTS - [-95, 0], "outside the picture of 100 x 80 px"),
        (POINTS - [0, 95], "outside the picture"),
    ],
)
def test_others_are_refused(points: object, message: str):
    with pytest.raises(LandmarkError, match=message):
        validate_landmarks(points, 80, 100)


def test_faces_of_every_pose_and_expression_pass(world_face):
    """Synthetic people, turned, laughing, with the noise of landmarks, and upside down; their mirror images do not."""
    faces = SyntheticFaces(world_face, SyntheticConfig(seed=3, image_size=64), "train").batch(range(40))
    for points in faces.landmarks.double().numpy():
        validate_landmarks(points, 64, 64)
        validate_landmarks(63 - points, 64, 64)
        with pytest.raises(LandmarkError, match="mirrored"):
            validate_landmarks(points * [1, -1] + [0, 63], 64, 64)


def turned(yaw: float, roll: float = 0.0) -> np.ndarray:
    """The mean face, turned by angles in degrees: about its own vertical axis, then in the picture."""
    cos, sin = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    x, y, z = (MEAN_LANDMARKS * [1, -1, 1]).T
    seen = np.stack([cos * x + sin * z, y], axis=1)
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    return seen @ np.array([[cos, sin], [-sin, cos]]) + 200


@pytest.mark.parametrize("yaw", [-100.0, -60.0, 0.0, 31.0, 90.0])
@pytest.mark.parametrize("roll", [0.0, 90.0, -160.0])
def test_the_yaw_of_a_face_whatever_its_roll(yaw: float, roll: float):
    assert estimate_yaw(turned(yaw, roll)) == pytest.approx(yaw, abs=1e-6)


def test_a_face_turned_away_passes_if_that_is_accepted():
    validate_landmarks(turned(100), 400, 400, least_facing=-0.35)
    with pytest.raises(LandmarkError, match="mirrored face"):
        validate_landmarks(turned(100), 400, 400)
    with pytest.raises(LandmarkError, match="mirrored face"):
        validate_landmarks(turned(180), 400, 400, least_facing=-0.35)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["portraits/landmarks.csv", "photos/landmarks68.csv"])
def test_annotated_photographs_pass_and_their_distortions_do_not(name: str, shared_data: Path):
    for points in read_landmarks(shared_data / name).values():
        width, height = (points.max(axis=0).astype(int) + 50).tolist()
        validate_landmarks(points, height, width)
        distorted = [points * [1, -1] + [0, height - 1], points * [-1, 1] + [width - 1, 0], points / [width, height]]
        for wrong in distorted:
            with pytest.raises(LandmarkError, match=r"mirrored|fractions"):
                validate_landmarks(wrong, height, width)
