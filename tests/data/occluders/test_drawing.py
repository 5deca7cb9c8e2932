"""Tests of focus_ray.data.occluders.drawing and the kernels under it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focus_ray.data.occluders import drawing
from focus_ray.data.occluders.drawing import FaceFrame, OccluderLayer


def _upright_landmarks():
    landmarks = np.zeros((68, 2))
    landmarks[36:42] = (40.0, 50.0)
    landmarks[42:48] = (80.0, 50.0)
    landmarks[8] = (60.0, 115.0)
    return landmarks


def test_the_frame_of_an_upright_face_has_the_eyes_at_one_half():
    frame = FaceFrame.from_landmarks(_upright_landmarks())
    np.testing.assert_allclose(
        frame.to_pixels(np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 1.0]])), [[40, 50], [80, 50], [60, 90]]
    )
    assert frame.angle == 0


@given(st.floats(-1.2, 1.2))
@settings(deadline=None, max_examples=20)
def test_the_frame_turns_with_the_face(angle):
    landmarks = _upright_landmarks()
    frame = FaceFrame.from_landmarks(landmarks @ drawing.rotation_matrix(angle))
    assert frame.angle == pytest.approx(angle, abs=1e-9)
    np.testing.assert_allclose(
        frame.to_pixels(np.array([[0.5, 0.0]])), landmarks[42:43] @ drawing.rotation_matrix(angle), atol=1e-9
    )


def test_the_frame_of_a_profile_is_measured_by_its_height():
    landmarks = _upright_landmarks()
    landmarks[36:42] = landmarks[42:48] = (60.0, 50.0)
    assert FaceFrame.from_landmarks(landmarks).unit == pytest.approx(32.5)


def test_a_filled_square_has_its_area_and_a_soft_edge():
    corners = np.array([[10.0, 10.0], [30.0, 10.0], [30.0, 30.0], [10.0, 30.0]])
    assert drawing.fill_polygons(64, corners).sum() == pytest.approx(21 * 21, rel=0.05)
    tilted = drawing.fill_polygons(64, corners @ drawing.rotation_matrix(0.2))
    assert ((tilted > 0.1) & (tilted < 0.9)).any()


def test_an_ellipse_of_high_power_nears_its_box():
    centre = np.array([[32.0, 32.0]])
    round_area, square_area = (
        drawing.fill_polygons(64, drawing.ellipse(centre, (16.0, 10.0), power=power)).sum() for power in (2.0, 20.0)
    )
    assert round_area == pytest.approx(np.pi * 160, rel=0.15)  # cv2 draws the outline too: half a pixel more
    assert square_area > 1.12 * round_area


def test_painted_mixes_by_the_mask():
    rgb, mask = np.zeros((4, 4, 3), np.float32), np.full((4, 4), 0.25, np.float32)
    colour = np.array([1.0, 0.5, 0.0])
    np.testing.assert_allclose(drawing.overlay(rgb, mask, colour)[0, 0], [0.25, 0.125, 0.0])
    canvas = drawing.solid_canvas(4, colour)
    np.testing.assert_allclose(drawing.overlay(rgb, mask, canvas), drawing.overlay(rgb, mask, colour))
    assert not rgb.any()


def test_lit_is_even_at_the_centre_and_bounded_at_the_edges():
    rgb = np.ones((33, 33, 3), np.float32)
    out = drawing.add_light_gradient(np.random.default_rng(0), rgb, 0.4)
    np.testing.assert_allclose(out[16, 16], 1.0)
    assert np.abs(out - 1).max() <= 0.4 * 2**0.5 + 1e-6


def test_rounded_darkens_the_edge_and_not_the_middle():
    mask = drawing.fill_polygons(64, drawing.ellipse(np.array([[32.0, 32.0]]), (20.0, 20.0)))
    out = drawing.shade_edges(np.ones((64, 64, 3), np.float32), mask, 8.0, 0.5)[..., 0]
    assert out[32, 32] == pytest.approx(1.0)
    assert out[32, 13] < 0.8


def test_over_hides_what_lies_below():
    below = OccluderLayer(np.zeros((2, 2, 3), np.float32), np.ones((2, 2), np.float32))
    above = OccluderLayer(np.ones((2, 2, 3), np.float32), np.array([[1.0, 0.0], [0.5, 0.0]], np.float32))
    layer = drawing.composite(below, above)
    np.testing.assert_allclose(layer.rgb[..., 0], [[1, 0], [0.5, 0]])
    assert (layer.alpha == 1).all()


def test_colours_are_colours():
    rng = np.random.default_rng(0)
    colours = np.array([drawing.random_colour(rng) for _ in range(200)])
    assert colours.min() >= 0
    assert colours.max() <= 1
    skin = np.array([0.6, 0.4, 0.3])
    tones = np.array([drawing.random_skin_colour(rng, skin, own=0.0) for _ in range(200)])
    assert (tones[:, 0] > tones[:, 2]).all()
    assert np.array_equal(drawing.random_skin_colour(rng, skin, own=1.0), skin)
