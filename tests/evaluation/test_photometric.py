"""The colour error of Table 1."""

import math

import numpy as np
import pytest

from focus_ray.evaluation.photometric import photometric_metrics, rmse_255


def test_only_rendered_pixels_where_the_face_is_seen_count():
    picture = np.full((2, 2, 3), 100, np.uint8)
    rendering = picture.copy()
    rendering[0, 0] += 10
    rendering[0, 1] += 100  # not seen
    rendering[1, 0] += 100  # not rendered
    region = np.array([[True, True], [False, True]])
    visible = np.array([[True, False], [True, True]])
    assert rmse_255(picture, rendering, region, visible) == pytest.approx(10 / math.sqrt(2))


def test_colours_do_not_wrap_around():
    dark, bright = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    everywhere = np.ones((1, 1), bool)
    assert rmse_255(dark, bright, everywhere, everywhere) == rmse_255(bright, dark, everywhere, everywhere) == 255.0


def test_a_picture_without_such_a_pixel_is_left_out():
    blank = np.zeros((1, 1, 3), np.uint8)
    assert math.isnan(rmse_255(blank, blank, np.zeros((1, 1), bool), np.ones((1, 1), bool)))
    assert photometric_metrics([4.0, float("nan"), 6.0])["rmse_255"] == (5.0, 1.0)
