"""Landmark error: size of a face, the matching face, metrics of pictures with and without a face."""

import numpy as np
import pytest

from focus_ray.data.detectors.detection import Detection, bounding_box
from focus_ray.data.landmark_check import MEAN_LANDMARKS
from focus_ray.errors import LandmarkError
from focus_ray.evaluation.landmark_error import (
    face_size,
    intersection_over_union,
    landmark_metrics,
    match_face,
    yaw_subsets,
)

FACE = MEAN_LANDMARKS[:, :2] * [1, -1] + 200


def test_the_size_of_a_face():
    assert face_size(FACE, "box") == pytest.approx(np.sqrt(142 * 133))
    assert face_size(FACE, "interocular") == pytest.approx(92)
    with pytest.raises(LandmarkError, match="eye corners coincide"):
        face_size(np.where(np.arange(68)[:, None] == 45, FACE[36], FACE), "interocular")


def test_intersection_over_union():
    assert intersection_over_union((0.0, 0.0, 4.0, 4.0), (2.0, 0.0, 4.0, 4.0)) == pytest.approx(8 / 24)
    assert intersection_over_union((0.0, 0.0, 4.0, 4.0), (4.0, 4.0, 1.0, 1.0)) == 0
    assert intersection_over_union((0.0, 0.0, 4.0, 4.0), (0.0, 0.0, 4.0, 4.0)) == 1


def test_the_detection_that_overlaps_best_is_the_face():
    x, y, width, height = bounding_box(FACE)
    elsewhere, near = Detection((0.0, 0.0, 400.0, 400.0)), Detection((x + 10, y, width, height))
    assert match_face([elsewhere, near], FACE, 0.3) == (near, pytest.approx((width - 10) / (width + 10)))
    nothing, overlap = match_face([elsewhere], FACE, 0.3)
    assert nothing is None
    assert overlap == pytest.approx(width * height / 400**2)
    assert match_face([elsewhere], FACE, 0.1) == (elsewhere, overlap)
    assert match_face([], FACE, 0.3) == (None, 0.0)


def test_metrics_count_pictures_without_a_face():
    errors = np.repeat([[0.01], [0.02], [0.12], [np.nan]], 68, axis=1)
    errors[0, :17] = 0.05  # jaw
    found = {name: figure.value for name, figure in landmark_metrics(errors).items()}
    first = (17 * 5 + 51 * 1) / 68
    assert found["nme"] == pytest.approx((first + 2 + 12) / 3)
    assert found["nme_median"] == pytest.approx(2)
    assert found["nme_p90"] == pytest.approx(2 + 0.8 * 10)
    assert found["nme_jaw"] == pytest.approx((5 + 2 + 12) / 3)
    assert found["nme_left_eye"] == pytest.approx((1 + 2 + 12) / 3)
    assert found["not_found"] == 25
    assert found["large"] == 50
    assert found["auc"] == pytest.approx(100 * ((1 - first / 7) + (1 - 2 / 7)) / 4)
    assert found["pictures"] == 4


def test_metrics_without_any_face():
    found = {name: figure.value for name, figure in landmark_metrics(np.full((2, 68), np.nan)).items()}
    assert found["nme"] is found["nme_median"] is found["nme_jaw"] is None
    assert (found["not_found"], found["large"], found["auc"]) == (100, 100, 0)


def test_pictures_by_absolute_yaw():
    yaws = np.array([0.0, -29.9, 30.0, -75.0, np.nan, 95.0])
    assert yaw_subsets(yaws) == {"yaw 0-30": [0, 1], "yaw 30-60": [2], "yaw 60-90": [3, 5]}
    assert yaw_subsets(yaws[:2]) == {"yaw 0-30": [0, 1]}
