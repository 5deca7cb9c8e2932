"""The face sphere."""

import numpy as np
import pytest

from focus_ray.evaluation.now.crop import crop_to_face, face_sphere

# Outer eye corners 100 mm apart; the bridge 40 mm above the nose bottom.
LANDMARKS = np.array(
    [[-50.0, 40, 0], [-15, 40, 0], [15, 40, 0], [50, 40, 0], [0, 0, 0], [-25, -30, 0], [25, -30, 0]], dtype=float
)


def test_centre_and_radius_are_those_of_the_challenge():
    centre, radius = face_sphere(LANDMARKS)
    np.testing.assert_allclose(centre, [0, 12, 0])
    assert radius == pytest.approx(0.7 * (100 + 40))


def test_vertices_on_the_border_are_kept_in_their_order():
    centre, radius = face_sphere(LANDMARKS)
    along = np.array([0.0, 1.0 + 1e-9, 1.0 - 1e-9, 2.0, 0.5])
    vertices = centre + radius * along[:, None] * np.array([0, 0, 1.0])
    np.testing.assert_array_equal(crop_to_face(vertices, LANDMARKS), vertices[[0, 2, 4]])
