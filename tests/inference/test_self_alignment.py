"""Self-alignment: from a box to a crop, and the rounds in which the model moves it."""

import math

import numpy as np
import pytest
import torch

from focus_ray.data.align import (
    Crop,
    compose,
    crop_from_five_points,
    crop_from_landmarks,
    rotation_transform,
    standard_points,
    transform_points,
)
from focus_ray.data.detectors.detection import Detection
from focus_ray.face_models.landmarks import FLIP
from focus_ray.inference.self_alignment import (
    AlignmentSettings,
    CropView,
    crop_from_detection,
    predict_landmarks,
    self_align,
)

SIZE = 64
_ROWS, _COLUMNS = np.mgrid[:400, :500]
IMAGE = np.stack([_COLUMNS / 2, _ROWS / 2, np.full_like(_ROWS, 255)], axis=2).astype(np.uint8)


def landmarks_with(five: np.ndarray) -> np.ndarray:
    points = np.zeros((68, 2))
    points[[36, 39]], points[[42, 45]] = five[0], five[1]
    points[30], points[48], points[54] = five[2:]
    return points


def sees(five: np.ndarray):
    """A stand-in for a model that sees the five points at the same place of the picture, whatever the crop.

    It looks at the picture: its red and green are half the column and the row, so the pixels tell where the crop is.
    """

    def one(image: torch.Tensor) -> np.ndarray:
        rows, columns = np.mgrid[:SIZE, :SIZE].reshape(2, -1)
        inside = image[2].numpy().reshape(-1) > 0.99
        shown = image[:2].double().numpy().reshape(2, -1).T[inside] * 255 * 2
        pixels = np.stack([columns, rows], axis=1)[inside]
        matrix = np.linalg.lstsq(np.hstack([shown, np.ones((len(shown), 1))]), pixels, rcond=None)[0].T
        points = landmarks_with(transform_points(matrix, five))
        return points[list(FLIP)] if np.linalg.det(matrix[:, :2]) < 0 else points

    return lambda images: torch.from_numpy(np.stack([one(image) for image in images])).float()


@pytest.mark.parametrize("roll", [0.0, 0.4, math.pi / 2, -2.5])
def test_a_box_becomes_the_crop_of_the_standard_face_in_it(roll: float):
    """A face that lies in its haar box as those of the photographs do lands on the standard points."""
    settings = AlignmentSettings()
    side, centre = 120.0, np.array([230.0, 170.0])
    unit = side / settings.box_units
    upright = (standard_points(224) - 112.0) / 102.0 * unit + [0.0, settings.box_drop * side]
    seen = transform_points(rotation_transform(roll), upright) + centre
    face = Detection((centre[0] - 60.0, centre[1] - 60.0, side, side), roll)
    crop = crop_from_detection(face, SIZE, settings)
    np.testing.assert_allclose(crop.to_crop(seen), standard_points(SIZE), atol=1e-6)
    np.testing.assert_allclose(crop_from_five_points(seen, SIZE).matrix, crop.matrix, atol=1e-5)


def test_points_of_the_detector_come_before_its_box():
    five = 1.5 * standard_points(224) + [20.0, 30.0]
    with_five = Detection((0.0, 0.0, 10.0, 10.0), five_points=five)
    with_all = Detection((0.0, 0.0, 10.0, 10.0), landmarks=landmarks_with(five))
    for face in (with_five, with_all):
        np.testing.assert_allclose(crop_from_detection(face, SIZE).to_crop(five), standard_points(SIZE), atol=1e-5)
    np.testing.assert_allclose(
        crop_from_landmarks(landmarks_with(five), SIZE).matrix, crop_from_five_points(five, SIZE).matrix
    )


def test_the_model_moves_the_crop_to_where_it_sees_the_face():
    five = 0.9 * standard_points(224) + [100.0, 60.0]
    off = crop_from_five_points(five + np.array([8.0, -5.0]), SIZE)
    first = Crop(compose(rotation_transform(0.15), off.matrix * 0.92), SIZE)
    (found,) = self_align(sees(five), [CropView(IMAGE, first)])
    np.testing.assert_allclose(found.crop.to_crop(five), standard_points(SIZE), atol=0.3)
    np.testing.assert_allclose(found.landmarks[[30, 48, 54]], five[2:], atol=1.0)
    assert np.abs(first.to_crop(five) - standard_points(SIZE)).max() > 4


def test_a_model_that_loses_the_face_leaves_the_crop():
    five = 0.9 * standard_points(224) + [100.0, 60.0]
    first = crop_from_five_points(five, SIZE)
    turned = transform_points(rotation_transform(1.0), five - five.mean(axis=0)) + five.mean(axis=0)
    for elsewhere in (five + np.array([120.0, 0.0]), 2.0 * five - five.mean(axis=0), turned, np.full((5, 2), 3.0)):
        (found,) = self_align(sees(elsewhere), [CropView(IMAGE, first)])
        assert found.crop is first
        np.testing.assert_allclose(found.landmarks[30], elsewhere[2], atol=1.0)


def test_without_rounds_the_crop_stays_and_no_faces_need_no_model():
    five = 0.9 * standard_points(224) + [100.0, 60.0]
    first = crop_from_five_points(five + np.array([4.0, 0.0]), SIZE)
    (found,) = self_align(sees(five), [CropView(IMAGE, first)], AlignmentSettings(rounds=0))
    assert found.crop is first

    def unused(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("there is nothing to look at")

    assert self_align(unused, []) == []


def test_one_wrong_view_does_not_move_the_median():
    five = 0.9 * standard_points(224) + [100.0, 60.0]
    model = sees(five)

    def once_wrong(images: torch.Tensor) -> torch.Tensor:
        landmarks = model(images)
        landmarks[3] += 40
        return landmarks

    ((points, _),) = predict_landmarks(once_wrong, [CropView(IMAGE, crop_from_five_points(five, SIZE))])
    np.testing.assert_allclose(points[[30, 48, 54]], five[2:], atol=1.0)


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.0, 0.005), (16.0, 0.02, 0.05)])
def test_the_spread_is_the_distance_of_the_views_from_their_median(shift: float, low: float, high: float):
    """In one of eight views all points are `shift` px of 64 off in both directions: sqrt(2) / 8 of a quarter, 0.044."""
    five = 0.9 * standard_points(224) + [100.0, 60.0]
    model = sees(five)

    def nose_only(images: torch.Tensor) -> torch.Tensor:
        landmarks = model(images)[:, 30:31].repeat(1, 68, 1)
        landmarks[3] += shift
        return landmarks

    (found,) = self_align(nose_only, [CropView(IMAGE, crop_from_five_points(five, SIZE))], AlignmentSettings(rounds=0))
    assert found.spread is not None
    assert low <= found.spread <= high
