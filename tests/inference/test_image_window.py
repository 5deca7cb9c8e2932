"""A window holds all of a crop that lies in the image, and values of the crop arrive at their pixels."""

import cv2
import numpy as np
import pytest

from focus_ray.data.align import Crop
from focus_ray.inference.image_window import crop_window, warp_to_window, window_crop, window_shape

TURNED = np.array([[0.2, 0.05, -20.0], [-0.05, 0.2, -10.0]])


@pytest.mark.parametrize("shift", [(0.0, 0.0), (-160.0, 40.0), (5000.0, 0.0), (0.0, -5000.0)])
def test_the_window_holds_all_of_a_crop_wherever_it_lies(shift: tuple[float, float]):
    matrix = TURNED.copy()
    matrix[:, 2] -= matrix[:, :2] @ np.array(shift)
    crop = Crop(matrix, 32)
    values = np.random.default_rng(0).uniform(0.1, 1, (32, 32)).astype(np.float32)
    window = crop_window(crop, 300, 350)
    rows, columns = window
    assert 0 <= rows.start < rows.stop <= 300
    assert 0 <= columns.start < columns.stop <= 350
    everywhere = cv2.warpAffine(values, crop.inverse, (350, 300))
    found = np.zeros((300, 350), np.float32)
    found[window] = warp_to_window(values, crop, window)
    assert found[window].shape == window_shape(window)
    assert found.any() == everywhere.any() == (max(map(abs, shift)) < 1000)
    assert np.abs(found - everywhere).mean() < 1e-3  # OpenCV rounds positions to 1/32 px of the crop


def test_a_point_has_the_same_place_in_the_crop_of_the_window():
    crop = Crop(TURNED, 32)
    inside = window_crop(crop, (slice(40, 90), slice(100, 150)))
    np.testing.assert_allclose(inside.to_crop(np.array([[3.0, 7.0]])), crop.to_crop(np.array([[103.0, 47.0]])))
