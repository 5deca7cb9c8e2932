"""The first look: sure of a portrait, silent without a face, and the thorough search where it is in doubt."""

import cv2
import numpy as np
import pytest
import skimage.data

from focus_ray.data.detectors.detection import Detection
from focus_ray.data.detectors.quick_haar import QuickDetector, QuickSettings

FACE = np.array([223.0, 115.0])  # the middle of the face of scikit-image's astronaut (NASA, public domain)
ELSEWHERE = Detection((1.0, 2.0, 30.0, 30.0))


class Asked:
    """A thorough detector that remembers whether it was asked."""

    def __init__(self) -> None:
        self.times = 0

    def detect(self, image: np.ndarray) -> list[Detection]:
        self.times += 1
        return [ELSEWHERE]


@pytest.fixture
def thorough() -> Asked:
    return Asked()


@pytest.mark.parametrize("zoom", [0.5, 1.0, 3.0])
def test_a_portrait_needs_no_second_look(zoom: float, thorough: Asked):
    picture = cv2.resize(skimage.data.astronaut(), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    (face,) = QuickDetector(fallback=thorough).detect(picture)
    assert thorough.times == 0
    assert np.linalg.norm(face.centre / zoom - FACE) < 15
    assert 80 < face.side / zoom < 150
    assert face.score >= QuickSettings().sure


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (120, 160, 3)])
def test_where_nothing_is_seen_the_thorough_search_answers(shape: tuple[int, ...], thorough: Asked):
    assert QuickDetector(fallback=thorough).detect(np.full(shape, 128, np.uint8)) == [ELSEWHERE]
    assert thorough.times == 1


def test_where_it_is_in_doubt_the_thorough_search_answers(thorough: Asked):
    nothing_is_sure = QuickSettings(sure=1000)
    assert QuickDetector(nothing_is_sure, thorough).detect(skimage.data.astronaut()) == [ELSEWHERE]
    beside_a_sure_face = QuickSettings(doubtful=1, sure=20)
    assert QuickDetector(beside_a_sure_face, thorough).detect(skimage.data.astronaut()) == [ELSEWHERE]


def test_the_thorough_detector_is_the_cascades_unless_another_is_given():
    assert QuickDetector().detect(np.zeros((40, 40, 3), np.uint8)) == []
