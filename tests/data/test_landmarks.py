"""Given landmarks: what can be a face in its picture, and what cannot."""

import numpy as np
import pytest

from focus_ray.data.landmarks import checked_landmarks
from focus_ray.errors import LandmarkError

POINTS = np.random.default_rng(0).uniform(10, 90, (68, 2))


def with_value(value: float) -> np.ndarray:
    points = POINTS.copy()
    points[3, 1] = value
    return points


def test_arrays_and_lists_of_numbers():
    np.testing.assert_array_equal(checked_landmarks(POINTS, 100, 100), POINTS)
    np.testing.assert_array_equal(checked_landmarks(POINTS.tolist(), 100, 100), POINTS)
    np.testing.assert_array_equal(checked_landmarks(POINTS - 89, 100, 100), POINTS - 89)  # partly outside
    assert checked_landmarks(POINTS.astype(int), 100, 100).dtype == np.float64


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
        (POINTS - [-95, 0], "outside of the picture of 100 x 80 px"),
        (POINTS - [0, 95], "outside of the picture"),
    ],
)
def test_others_are_refused(points: object, message: str):
    with pytest.raises(LandmarkError, match=message):
        checked_landmarks(points, 80, 100)
