"""A model that knows nothing (the mean face), a detector that is told what to find, and a picture."""

import cv2
import numpy as np
import pytest
import skimage.data

from focus_ray.data.detectors.detection import Detection
from focus_ray.inference import Reconstructor
from focus_ray.model import Model


class Finds:
    """A detector that finds what it is told to."""

    def __init__(self, *faces: Detection):
        self.faces = list(faces)

    def detect(self, image: np.ndarray) -> list[Detection]:
        return list(self.faces)


@pytest.fixture
def reconstructor(untrained: Model) -> Reconstructor:
    return Reconstructor(untrained, Finds(Detection((174.0, 65.0, 100.0, 100.0), 0.06, 9.0)))


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    return skimage.data.astronaut()[:300, 50:400].copy()


@pytest.fixture(scope="session")
def tiny_portrait(portrait: np.ndarray) -> np.ndarray:
    return cv2.resize(portrait, (88, 75), interpolation=cv2.INTER_AREA)
