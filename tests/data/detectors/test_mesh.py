"""The mesh detector on a public-domain portrait in all turns, sizes and numbers, and on pictures without a face."""

import math

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from focus_ray.data.align import rotated_view
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.detectors.detection import Detection, NamedDetector
from focus_ray.face_models.landmarks import five_points

CENTRE = np.array([225.0, 131.0])  # of the astronaut's 68 landmarks' box, px
SIDE = 92.0  # of that box, px


@pytest.fixture(scope="module")
def detector(mesh_spec: DetectorSpec) -> NamedDetector:
    return mesh_spec.build()


def is_at(face: Detection, centre: np.ndarray, side: float) -> bool:
    return bool(np.linalg.norm(face.centre - centre) < 0.12 * side and 0.85 * side < face.side < 1.15 * side)


@pytest.mark.parametrize("degrees", range(0, 360, 45))
def test_a_face_is_found_in_any_turn(degrees: float, detector: NamedDetector, astronaut: np.ndarray):
    view = rotated_view(*CENTRE.tolist(), 1.0, -float(degrees), 300)
    (face,) = detector.detect(view.warp(astronaut))
    assert face.landmarks is not None
    eyes = five_points(torch.from_numpy(view.to_image(face.landmarks)))[:2].numpy()
    across = eyes[1] - eyes[0]
    assert abs(math.degrees(math.atan2(across[1], across[0]))) < 12  # the head itself is tilted
    assert np.linalg.norm(eyes.mean(axis=0) - [222.0, 107.0]) < 0.06 * SIDE


@pytest.mark.parametrize("degrees", [210, 240])
def test_a_dark_face_upside_down_is_not_found_the_wrong_way_round(
    degrees: float, detector: NamedDetector, astronaut: np.ndarray
):
    """The networks see a face in it upside down too, with less certainty."""
    view = rotated_view(*CENTRE.tolist(), 2.0, -float(degrees), 300)
    dark = (255 * (view.warp(astronaut) / 255.0) ** 3).astype(np.uint8)
    (face,) = detector.detect(dark)
    assert face.landmarks is not None
    eyes = five_points(torch.from_numpy(view.to_image(face.landmarks)))[:2].numpy()
    assert np.linalg.norm(eyes.mean(axis=0) - [222.0, 107.0]) < 0.1 * SIDE


@pytest.mark.parametrize("share", [0.06, 0.03])
def test_a_small_face_is_found(share: float, detector: NamedDetector, astronaut: np.ndarray):
    zoom = share * 700 / SIDE
    picture = np.full((700, 700, 3), 110, np.uint8)
    small = cv2.resize(astronaut[60:220, 140:310], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    picture[200 : 200 + small.shape[0], 300 : 300 + small.shape[1]] = small
    (face,) = detector.detect(picture)
    assert is_at(face, [300, 200] + (CENTRE - [140, 60]) * zoom, SIDE * zoom)


def test_a_face_that_fills_the_picture_is_found(detector: NamedDetector, astronaut: np.ndarray):
    (face,) = detector.detect(np.ascontiguousarray(astronaut[85:190, 175:280]))
    assert is_at(face, CENTRE - [175, 85], SIDE)


def test_a_face_that_is_cut_by_the_border_is_found(detector: NamedDetector, astronaut: np.ndarray):
    (face,) = detector.detect(np.ascontiguousarray(astronaut[:145, 100:350]))
    assert np.linalg.norm(face.centre - (CENTRE - [100, 0])) < 0.15 * SIDE


def test_all_faces_of_a_group_are_found_once_and_the_largest_comes_first(
    detector: NamedDetector, astronaut: np.ndarray
):
    one = astronaut[20:260, 100:350]
    group = np.concatenate([np.concatenate([one] * 4, axis=1)] * 3, axis=0)
    assert len(detector.detect(group)) == 12
    large = cv2.resize(one, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_LINEAR)
    beside = np.zeros((large.shape[0], large.shape[1] + one.shape[1], 3), np.uint8)
    beside[: one.shape[0], : one.shape[1]] = one
    beside[:, one.shape[1] :] = large
    first, second = detector.detect(beside)
    assert is_at(first, [250, 0] + (CENTRE - [100, 20]) * 1.5, SIDE * 1.5)
    assert is_at(second, CENTRE - [100, 20], SIDE)


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "coins", "text", "page"])
def test_pictures_without_people(name: str, detector: NamedDetector):
    picture = getattr(skimage.data, name)()
    assert detector.detect(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (120, 160, 3)])
def test_empty_pictures_of_any_shape(shape: tuple[int, ...], detector: NamedDetector):
    assert detector.detect(np.full(shape, 128, np.uint8)) == []


def test_a_result_does_not_depend_on_what_was_detected_before(mesh_spec: DetectorSpec, astronaut: np.ndarray):
    detector = mesh_spec.build()
    (first,) = detector.detect(astronaut)
    detector.detect(np.ascontiguousarray(astronaut[::-1]))
    (again,) = detector.detect(astronaut)
    assert first.mesh is not None
    assert again.mesh is not None
    assert first.mesh.shape == (468, 2)
    np.testing.assert_array_equal(first.mesh, again.mesh)
