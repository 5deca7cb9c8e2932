"""What is measured of a fit: distances before and after the refinement, for crops and predictions of any size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from focus_ray.data.align import Crop, compose, resize_transform
from focus_ray.data.detectors.detection import Detection, bounding_box
from focus_ray.inference.face_locations import FaceLocations
from focus_ray.inference.measure_quality import (
    fraction_outside,
    landmark_distance,
    mask_change,
    measure_quality,
    picture_landmarks,
)
from focus_ray.inference.predictor import Prediction, Predictor
from focus_ray.inference.quality import MASK_CHANGE_FLOOR
from focus_ray.inference.self_alignment import AlignedFace
from focus_ray.model import Model

SIZE = 32
CROP = Crop(np.array([[0.25, 0.0, -3.0], [0.0, 0.25, -5.0]]), SIZE)
IMAGE = np.full((200, 180, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def first(untrained: Model) -> Prediction:
    torch.manual_seed(0)
    return Predictor(untrained.focus, untrained.refine)(torch.rand(2, 3, SIZE, SIZE), steps=0)


@pytest.fixture(scope="module")
def refined(first: Prediction) -> Prediction:
    """The same fit, whose rendering is darker and whose landmarks are 1 px to the right."""
    rendering = first.rendering
    moved = replace(rendering, image=rendering.image * 0.5, landmarks=rendering.landmarks + torch.tensor([1.0, 0.0]))
    return replace(first, rendering=moved, one_pass=first)


def thrice(pixels: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(pixels, scale_factor=3.0)


def with_outliers(prediction: Prediction, rows: int) -> Prediction:
    """The whole region is face, but for the first rows of it."""
    mask = prediction.region.float()
    top = int(torch.nonzero(prediction.region[0, 0].any(dim=1))[0])
    mask[:, :, : top + rows] = 0
    return replace(prediction, mask=mask)


def test_landmarks_in_the_picture_for_any_size_of_the_crop(first: Prediction):
    expected = CROP.to_image(first.rendering.landmarks[1].double().numpy())
    np.testing.assert_allclose(picture_landmarks(CROP, first, 1), expected)
    larger = Crop(compose(resize_transform(SIZE, 112), CROP.matrix), 112)
    np.testing.assert_allclose(picture_landmarks(larger, first, 1), expected)


def test_the_distance_of_landmarks_is_a_share_of_the_size_of_their_box(first: Prediction):
    points = picture_landmarks(CROP, first, 0)
    given = Detection(bounding_box(points), landmarks=points + np.array([3.0, 4.0]))
    size = float(np.sqrt(np.prod(np.ptp(points, axis=0))))
    assert landmark_distance(given, CROP, first, 0) == pytest.approx(5.0 / size)
    assert landmark_distance(Detection((0.0, 0.0, 9.0, 9.0)), CROP, first, 0) is None
    flat = Detection((0.0, 0.0, 9.0, 0.0), landmarks=points * [1.0, 0.0])
    assert landmark_distance(flat, CROP, first, 0) is None


def test_a_mask_that_the_refinement_fills_is_a_large_change(first: Prediction):
    occluded, nearly, filled = (with_outliers(first, rows) for rows in (8, 7, 0))
    region = int(first.region[0].sum())
    lost = int(first.region[0].sum() - occluded.mask[0].sum())
    assert mask_change(occluded, occluded, 0) == 0
    assert mask_change(occluded, filled, 0) == pytest.approx(lost / (MASK_CHANGE_FLOOR * region))
    assert mask_change(occluded, nearly, 0) < 0.3 < 2 < mask_change(occluded, filled, 0)
    empty = replace(first, mask=torch.zeros_like(first.mask))
    nothing = replace(empty, rendering=replace(first.rendering, mask=torch.zeros_like(first.mask)))
    assert mask_change(nothing, nothing, 0) == 0


def test_masks_of_different_sizes_are_compared(first: Prediction):
    occluded, filled = with_outliers(first, 8), with_outliers(first, 0)

    def enlarged(prediction: Prediction) -> Prediction:
        rendering = prediction.rendering
        pixels = {name: thrice(getattr(rendering, name)) for name in ("image", "mask", "depth")}
        ids = thrice(rendering.triangle_ids[:, None].float())[:, 0].long()
        larger = replace(rendering, triangle_ids=ids, **pixels)
        return replace(prediction, images=thrice(prediction.images), mask=thrice(prediction.mask), rendering=larger)

    assert mask_change(occluded, enlarged(occluded), 0) < 0.2
    assert mask_change(occluded, enlarged(filled), 0) == pytest.approx(mask_change(occluded, filled, 0), rel=0.1)


def test_what_lies_outside_of_the_picture():
    region = np.zeros((SIZE, SIZE), dtype=bool)
    region[10:20, :] = True
    crop = Crop(np.array([[1.0, 0.0, 8.0], [0.0, 1.0, 0.0]]), SIZE)  # the picture's left edge is at 8
    assert fraction_outside(region, crop, (100, 100)) == pytest.approx(0.25)
    assert fraction_outside(region, Crop(compose(resize_transform(SIZE, 96), crop.matrix), 96), (100, 100)) == 0.25
    assert fraction_outside(np.zeros_like(region), crop, (100, 100)) == 0


def test_measures_of_a_refined_fit_to_detected_landmarks(first: Prediction, refined: Prediction):
    points = picture_landmarks(CROP, first, 1)
    detection = Detection(bounding_box(points), score=0.75, landmarks=points, mesh=np.zeros((468, 2)))
    picture = FaceLocations(IMAGE, [detection])
    measures = measure_quality(picture, detection, AlignedFace(CROP, points), refined, 1)
    assert measures.crop_scale == pytest.approx(0.25)
    assert measures.first_residual == pytest.approx(float(first.residual[1]))
    assert measures.residual == pytest.approx(float(refined.residual[1]))
    assert measures.residual != measures.first_residual
    assert measures.first_landmark_distance == pytest.approx(0, abs=1e-9)
    assert measures.landmark_distance is not None
    assert measures.landmark_distance > 0.01
    assert measures.presence == 0.75
    assert measures.mask_change == 0
    assert measures.view_spread is None
    assert not measures.landmarks_from_model
    assert not measures.box_only
    assert measures.only_residual is None
    assert measures.turn == max(abs(measures.yaw), abs(measures.pitch))


def test_measures_of_one_pass_from_a_box(first: Prediction):
    detection = Detection((20.0, 20.0, 90.0, 90.0), score=300.0)
    aligned = AlignedFace(CROP, picture_landmarks(CROP, first, 0), 0.125)
    measures = measure_quality(FaceLocations(IMAGE, [detection]), detection, aligned, first, 0)
    assert (measures.residual, measures.mask_change, measures.presence) == (None, None, None)
    assert (measures.first_landmark_distance, measures.landmark_distance) == (None, None)
    assert measures.only_residual == measures.first_residual
    assert measures.view_spread == 0.125
    assert measures.landmarks_from_model
    assert measures.box_only
    given = measure_quality(FaceLocations(IMAGE, [detection], "box"), detection, aligned, first, 0)
    assert given.landmarks_from_model
    assert not given.box_only
    points = Detection((20.0, 20.0, 90.0, 90.0), five_points=np.zeros((5, 2)))
    assert not measure_quality(FaceLocations(IMAGE, [points]), points, aligned, first, 0).box_only
