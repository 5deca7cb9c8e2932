"""The shared photographs with the shipped model: who gets a result, and how near its landmarks are to a regressor's."""

from pathlib import Path

import numpy as np
import pytest

import focus_ray
from focus_ray.data.align import crop_from_landmarks
from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import read_landmarks
from focus_ray.inference import reconstruct_paths
from focus_ray.model_location import find_model

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not find_model(None).is_dir(), reason="no model is shipped with this checkout"),
]


def error_px(found: np.ndarray, given: np.ndarray) -> float:
    """Mean landmark distance in px of the aligned crop at 224."""
    crop = crop_from_landmarks(given, 224)
    return float(np.linalg.norm(crop.to_crop(found) - crop.to_crop(given), axis=1).mean())


def test_given_landmarks_are_kept(shared_data: Path):
    folder = shared_data / "photos"
    given = read_landmarks(folder / "landmarks68.csv")["000055.jpg"]
    ((face, _),) = focus_ray.load().reconstruct(read_image(folder / "000055.jpg"), landmarks=given)
    assert error_px(np.array(face.landmarks), given) < 6
    assert face.quality == []


@pytest.mark.drill
def test_every_photograph(shared_data: Path, tmp_path: Path):
    folder = shared_data / "photos"
    every = reconstruct_paths([folder], tmp_path / "out")
    results = {Path(result.image).name: result for result in every if result.status != "left_out"}
    assert len(results) == 24
    nobody = {name for name, result in results.items() if result.status == "no_face"}
    assert nobody == {name for name in results if name.startswith(("mask_", "no_face"))}
    assert len(results["group_of_six.jpg"].faces) == 6
    given = read_landmarks(folder / "landmarks68.csv")
    errors = [error_px(np.array(results[name].faces[0].landmarks), points) for name, points in given.items()]
    assert np.mean(errors) < 8
    assert np.max(errors) < 16
