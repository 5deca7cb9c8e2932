"""YuNet with a weight file of the user: boxes, five points, turns, and files that are no such network."""

from pathlib import Path

import numpy as np
import pytest

from focus_ray.data.align import rotated_view
from focus_ray.data.detectors.yunet import YuNetDetector
from focus_ray.errors import ConfigError
from focus_ray.inference.self_alignment import crop_from_detection


@pytest.fixture(scope="module")
def weights(shared_data: Path) -> bytes:
    return (shared_data / "yunet" / "yunet_n_640_640.onnx").read_bytes()


@pytest.mark.shared
@pytest.mark.parametrize("degrees", [0.0, 90.0, 180.0])
def test_a_face_is_found_with_five_points(degrees: float, weights: bytes, astronaut: np.ndarray):
    turned = rotated_view(255.5, 255.5, 1.0, -degrees, 512)
    (face,) = YuNetDetector(weights).detect(turned.warp(astronaut))
    assert face.five_points is not None
    assert np.linalg.norm(turned.to_image(face.five_points[:2]).mean(axis=0) - [222.0, 107.0]) < 6
    assert np.cos(face.roll - np.radians(degrees)) == pytest.approx(1)
    assert np.cos(crop_from_detection(face, 64).roll + np.radians(degrees)) > np.cos(np.radians(12))


@pytest.mark.shared
def test_a_picture_without_a_face(weights: bytes):
    assert YuNetDetector(weights).detect(np.full((90, 160, 3), 128, np.uint8)) == []


def test_a_file_that_is_no_such_network_is_refused():
    with pytest.raises(ConfigError, match="OpenCV cannot use the weight file of the yunet detector"):
        YuNetDetector(b"no network")
