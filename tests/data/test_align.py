"""Deep3D's alignment: the method's known vectors, exact round trips, and shrinking without aliasing."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focus_ray.data.align import (
    STANDARD_POINTS,
    Crop,
    align,
    compose,
    face_roll,
    resize_transform,
    rotation_transform,
    standard_points,
    transform_points,
    weak_perspective,
)
from focus_ray.errors import LandmarkError


def test_the_standard_face_lands_on_112_plus_102_times_the_standard_points():
    """Method section 13: the five-point set scaled by 102 about (112, 112), wherever the face was in the picture."""
    expected = 112 + 102 * STANDARD_POINTS[:, :2] * [1, -1]
    np.testing.assert_allclose(standard_points(224), expected, atol=1e-12)
    picture = 3.7 * expected + [200, -45]
    crop = align(picture, 224)
    np.testing.assert_allclose(crop.to_crop(picture), expected, atol=1e-9)
    assert crop.scale == pytest.approx(1 / 3.7)


def test_a_face_seen_from_the_side_keeps_the_weak_perspective_scale():
    """POS recovers scale and origin of a rotated face, which a 2D similarity on the points would not."""
    angle, scale, origin = 0.5, 60.0, np.array([310.0, 205.0])
    turn = np.array([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
    seen = (STANDARD_POINTS @ turn.T)[:, :2] * [1, -1] * scale + origin
    found_scale, found_origin = weak_perspective(seen)
    assert found_scale == pytest.approx(scale, rel=1e-6)
    np.testing.assert_allclose(found_origin, origin, atol=1e-6)
    np.testing.assert_allclose(align(seen, 224).to_crop(origin), [112, 112], atol=1e-6)


@given(
    st.floats(0.2, 20),
    st.floats(-math.pi, math.pi),
    st.floats(-500, 2000),
    st.sampled_from([64, 112, 224, 256]),
)
@settings(deadline=None, max_examples=30)
def test_points_go_there_and_back(zoom: float, roll: float, shift: float, size: int):
    rng = np.random.default_rng(0)
    picture = transform_points(rotation_transform(roll), zoom * standard_points(224)) + np.array([shift, 30])
    crop = align(picture, size, roll)
    np.testing.assert_allclose(crop.to_crop(picture), standard_points(size), atol=1e-6 * size)
    points = rng.uniform(-100, 1000, (68, 2))
    np.testing.assert_allclose(crop.to_image(crop.to_crop(points)), points, atol=1e-6)
    assert math.cos(crop.roll + roll) == pytest.approx(1)


def test_roll_is_read_from_eyes_and_mouth():
    for roll in (-3.0, -0.4, 0.0, 0.2, 1.6):
        turned = transform_points(rotation_transform(roll), 2.0 * standard_points(224)) + np.array([5.0, 9.0])
        turned[2] += [30.0, -4.0]  # the nose of a face turned aside
        assert face_roll(turned) == pytest.approx(roll, abs=1e-3)


def test_pixel_centres_are_kept_when_the_size_changes():
    """The corners of the picture, half a pixel outside the outermost centres, stay the corners."""
    corners = np.array([[-0.5, -0.5], [223.5, 223.5]])
    np.testing.assert_allclose(transform_points(resize_transform(224, 64), corners), [[-0.5, -0.5], [63.5, 63.5]])
    both = compose(resize_transform(64, 224), resize_transform(224, 64))
    np.testing.assert_allclose(both, [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_points_that_span_no_face_are_refused():
    with pytest.raises(LandmarkError, match="coincide"):
        align(np.full((5, 2), 7.0), 224)
    with pytest.raises(LandmarkError, match="finite"):
        align(np.full((5, 2), np.nan), 224)


def test_the_identity_crop_is_the_picture():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    crop = Crop(np.array([[1.0, 0, 0], [0, 1.0, 0]]), 64)
    np.testing.assert_array_equal(crop.warp(image), image)
    shifted = Crop(np.array([[1.0, 0, -10], [0, 1.0, 0]]), 64).warp(image)
    np.testing.assert_array_equal(shifted[:, :54], image[:, 10:])
    assert (shifted[:, 54:] == 0).all()


def test_warped_pixels_lie_where_the_points_are():
    """A bright spot of the picture is found in the crop where its centre is mapped, in both directions of scale."""
    yy, xx = np.mgrid[:400, :500]
    for zoom, spread in ((0.2, 12.0), (2.5, 3.0)):
        image = np.exp(-((xx - 260.3) ** 2 + (yy - 190.6) ** 2) / (2 * spread**2)).astype(np.float32)
        matrix = compose(
            np.array([[zoom, 0, 40.0 - zoom * 260], [0, zoom, 30.0 - zoom * 190]]), rotation_transform(0.0)
        )
        crop = Crop(compose(rotation_transform(0.1), matrix), 80)
        seen = crop.warp(image)
        rows, columns = np.mgrid[:80, :80]
        centre = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
        np.testing.assert_allclose(centre, crop.to_crop(np.array([260.3, 190.6])), atol=0.1)


def test_shrinking_averages_instead_of_picking_pixels():
    """A one-pixel chequerboard becomes even grey; picking pixels would leave stripes."""
    board = np.indices((512, 512)).sum(axis=0) % 2 * 255.0
    seen = Crop(np.array([[0.11, 0, 2.0], [0, 0.11, 2.0]]), 50).warp(board)
    assert np.abs(seen[5:-5, 5:-5].astype(float) - 127.5).max() < 12


def test_a_crop_beside_the_picture_is_black():
    image = np.full((20, 20, 3), 255, np.uint8)
    assert (Crop(np.array([[1.0, 0, 500], [0, 1.0, 0]]), 32).warp(image) == 0).all()


def test_masks_come_back_in_the_size_of_the_picture():
    crop = Crop(np.array([[0.5, 0, -20.0], [0, 0.5, -10.0]]), 64)
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 16:48] = 1
    back = crop.to_image_mask(mask, 200, 300)
    assert back.shape == (200, 300)
    inside = crop.to_image(np.array([[32.0, 32.0]]))[0]
    assert back[int(inside[1]), int(inside[0])] == 1
    assert back.sum() == pytest.approx(mask.sum() * 4, rel=0.03)


@pytest.mark.shared
def test_real_five_points_fit_the_standard_face(shared_data: Path):
    """Deep3D's own five-point files: the eyes lie near the standard ones, within what pose and identity explain."""
    files = sorted((shared_data / "photos").glob("*.five_points.txt"))
    assert len(files) == 12
    for path in files:
        points = np.loadtxt(path)
        offset = align(points, 224).to_crop(points) - standard_points(224)
        assert np.abs(offset.mean(axis=0)).max() < 16
        assert np.abs(offset).max() < 35
