"""The cascade detector: a public-domain portrait in four turns, and the table of the shared photographs."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from focus_ray.data.align import rotated_view
from focus_ray.data.detectors.haar import HaarDetector
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import read_landmarks

FACE = np.array([223.0, 115.0])  # the middle of the face of scikit-image's astronaut (NASA, public domain)
WITHOUT = {"mask_black.jpg", "mask_blue.jpg", "mask_green.jpg", "mask_white.jpg", "no_face.png", "no_face_grass.jpg"}
GROUP = {(112, 329), (512, 340), (310, 214), (1172, 336), (783, 412), (936, 130)}  # the six faces' middles, px


@pytest.fixture(scope="module")
def detector() -> HaarDetector:
    return HaarDetector()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return cv2.resize(skimage.data.astronaut()[:256, 96:352], (200, 200), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("quarters", [0, 1, 3])
def test_a_face_is_found_with_its_turn(quarters: int, detector: HaarDetector, portrait: np.ndarray):
    (face,) = detector.detect(np.ascontiguousarray(np.rot90(portrait, -quarters)))  # np.rot90(-1) is clockwise
    place = (FACE - [96, 0]) * 200 / 256
    turned = {0: place, 1: [199 - place[1], place[0]], 3: [place[1], 199 - place[0]]}[quarters]
    assert np.linalg.norm(face.centre - turned) < 12
    assert 60 < face.side < 110
    assert math.cos(face.roll - quarters * math.pi / 2) > math.cos(math.radians(15))
    assert face.score >= detector.settings.least_support


@pytest.mark.parametrize("degrees", [pytest.param(45.0, marks=pytest.mark.drill), 135.0])
def test_a_face_that_is_turned_diagonally_is_found(degrees: float, detector: HaarDetector):
    turned = rotated_view(223.0, 115.0, 200 / 256, -degrees, 200).warp(skimage.data.astronaut())
    (face,) = detector.detect(turned)
    assert np.linalg.norm(face.centre - 199 / 2) < 12
    assert 60 < face.side < 110
    assert math.cos(face.roll - math.radians(degrees)) > math.cos(math.radians(15))


def test_a_face_of_three_hundredths_of_the_longer_side_is_found(detector: HaarDetector):
    picture = np.full((700, 700, 3), 128, np.uint8)
    small = cv2.resize(skimage.data.astronaut(), (100, 100), interpolation=cv2.INTER_AREA)
    picture[200:300, 300:400] = small
    (face,) = detector.detect(picture)
    assert np.linalg.norm(face.centre - ([300, 200] + FACE * 100 / 512)) < 3
    assert face.side / 700 < 0.035


def test_pictures_without_a_face(detector: HaarDetector):
    assert detector.detect(np.full((120, 160, 3), 128, np.uint8)) == []
    assert detector.detect(np.zeros((1, 1, 3), np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    assert detector.detect(noise) == []


def test_a_turned_view_keeps_its_middle_and_stands_the_face_upright():
    view = rotated_view(50.0, 80.0, 2.0, 90.0, 101)
    np.testing.assert_allclose(view.to_crop(np.array([50.0, 80.0])), [50, 50])
    # the face is turned clockwise by a quarter: the top of its head is to the right of its middle
    np.testing.assert_allclose(view.to_crop(np.array([60.0, 80.0])), [50, 30], atol=1e-9)


@pytest.mark.shared
def test_some_shared_photographs(shared_data: Path, detector: HaarDetector):
    for name, count in {"000033.jpg": 1, "no_face.png": 0}.items():
        assert len(detector.detect(read_image(shared_data / "photos" / name))) == count, name


@pytest.mark.shared
@pytest.mark.drill
def test_every_shared_photograph(shared_data: Path, detector: HaarDetector):
    """17 of 17 single faces, 6 of 6 of the group, no box where there is no face. The settings were chosen on these."""
    folder = shared_data / "photos"
    landmarks = read_landmarks(folder / "landmarks68.csv")
    for path in sorted(folder.glob("*.jpg")) + sorted(folder.glob("*.png")):
        faces = detector.detect(read_image(path))
        if path.name in WITHOUT:
            assert faces == [], path.name
        elif path.name == "group_of_six.jpg":
            assert len(faces) == 6
            for place in GROUP:
                assert min(np.linalg.norm(face.centre - place) for face in faces) < 30
        else:
            assert len(faces) == 1, path.name
        if path.name in landmarks:
            points = landmarks[path.name]
            middle, height = points[17:].mean(axis=0), np.ptp(points[:, 1])
            assert np.linalg.norm(faces[0].centre - middle) < 0.25 * height, path.name
            assert 0.8 < faces[0].side / height < 1.6, path.name
