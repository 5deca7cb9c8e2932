"""Small pictures with and without a face, and the mesh detector."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from focus_ray.data.detect_landmarks import resolve_landmark_detector
from focus_ray.data.detectors.by_name import DetectorSpec
from focus_ray.data.detectors.weight_files import has_mesh_files


@pytest.fixture(scope="session")
def mesh_spec() -> DetectorSpec:
    if not has_mesh_files():
        pytest.skip("the weights of the mesh detector are not installed; run infra/fetch_detectors.py")
    return resolve_landmark_detector("mesh")


def write_picture(path: Path, shift: int = 0) -> None:
    """Write a crop of the astronaut, 112 px wide."""
    path.parent.mkdir(parents=True, exist_ok=True)
    crop = Image.fromarray(skimage.data.astronaut()).crop((128 - shift, 40, 320 - shift, 232))
    crop.resize((112, 112)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two faces, one of them in a subfolder, two faces in a picture, a picture without a face, a damaged one."""
    folder = tmp_path / "photos"
    write_picture(folder / "b.png")
    write_picture(folder / "anna" / "a.png", shift=8)
    one = np.asarray(Image.open(folder / "b.png"))
    Image.fromarray(np.concatenate([one, one], axis=1)).save(folder / "two.png")
    Image.new("RGB", (64, 64), "grey").save(folder / "none.png")
    (folder / "damaged.jpg").write_bytes((folder / "b.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("no picture")
    return folder
