"""Adapters for packages and weights that only a user can have: stand-ins for the packages, real checks of the files."""

import hashlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from focus_ray.data.detectors import user_packages
from focus_ray.data.detectors.user_packages import FaceAlignmentDetector, InsightFaceDetector
from focus_ray.errors import ConfigError

IMAGE = np.zeros((40, 50, 3), np.uint8)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub folder whose two weight files are named after their own hashes."""
    (tmp_path / "checkpoints").mkdir()
    for attribute, pattern in (("_S3FD", "s3fd-{}.pth"), ("_FAN", "2DFAN4-{}.pth.tar")):
        name = pattern.format(hashlib.sha256(attribute.encode()).hexdigest()[:10])
        (tmp_path / "checkpoints" / name).write_bytes(attribute.encode())
        monkeypatch.setattr(user_packages, attribute, name)
    return tmp_path


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **content) -> None:
    module = ModuleType(name)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)


class Alignment:
    """Answers like face_alignment.FaceAlignment with return_bboxes."""

    answer: object = None

    def __init__(self, kind: str, **options):
        self.options, self.hub = options, torch.hub.get_dir()

    def get_landmarks_from_image(self, image: np.ndarray, return_bboxes: bool):
        return self.answer


def test_face_alignment(hub: Path, monkeypatch: pytest.MonkeyPatch):
    stand_in(monkeypatch, "face_alignment", FaceAlignment=Alignment, LandmarksType=SimpleNamespace(TWO_D="2D"))
    before = torch.hub.get_dir()
    detector = FaceAlignmentDetector(hub)
    assert detector._network.hub == str(hub)
    assert torch.hub.get_dir() == before
    assert detector._network.options["compile"] is False
    assert Path(detector._network.options["face_detector_kwargs"]["path_to_detector"]).is_file()
    for nothing in (None, (None, None, None), ([], [], [])):
        detector._network.answer = nothing
        assert detector.detect(IMAGE) == []
    points = np.ones((68, 2), np.float32)
    detector._network.answer = ([points, 2 * points], None, [[1, 2, 11, 22, 0.5], [0, 0, 4, 4, 0.9]])
    first, second = detector.detect(IMAGE)
    assert first.score == 0.9
    assert second.box == (1, 2, 10, 20)
    assert second.landmarks is not None
    assert (second.landmarks == 1).all()


def test_face_alignment_weights_must_be_there_and_be_what_they_say(hub: Path, monkeypatch: pytest.MonkeyPatch):
    stand_in(monkeypatch, "face_alignment", FaceAlignment=Alignment, LandmarksType=SimpleNamespace(TWO_D="2D"))
    weights = hub / "checkpoints" / user_packages._FAN
    weights.write_bytes(b"something else")
    with pytest.raises(ConfigError, match="its sha256 begins with"):
        FaceAlignmentDetector(hub)
    weights.unlink()
    with pytest.raises(ConfigError, match="not downloaded automatically"):
        FaceAlignmentDetector(hub)


@pytest.mark.parametrize("module", ["face_alignment", "insightface.app"])
def test_a_missing_package_is_a_clear_error(module: str, hub: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, module, None)
    (hub / "det.onnx").touch()
    with pytest.raises(ConfigError, match=r"pip install '\.\[detect\]'"):
        FaceAlignmentDetector(hub) if module == "face_alignment" else InsightFaceDetector(hub)


class Analysis:
    """Answers like insightface.app.FaceAnalysis."""

    def __init__(self, name: str):
        if not (Path(name) / "det_10g.onnx").exists():
            raise AssertionError

    def prepare(self, ctx_id: int, det_size: tuple[int, int]) -> None:
        self.det_size = det_size

    def get(self, image: np.ndarray):
        self.seen = image
        dense = np.full((68, 3), 7.0)
        return [
            SimpleNamespace(bbox=np.array([1, 2, 11, 22.0]), det_score=0.4, kps=None, landmark_3d_68=dense),
            SimpleNamespace(bbox=np.array([0, 0, 4, 4.0]), det_score=0.8, kps=np.ones((5, 2))),
        ]


def test_insightface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_in(monkeypatch, "insightface.app", FaceAnalysis=Analysis)
    with pytest.raises(ConfigError, match=r"no \.onnx files"):
        InsightFaceDetector(tmp_path)
    (tmp_path / "other.onnx").touch()
    with pytest.raises(ConfigError, match="no detection network"):
        InsightFaceDetector(tmp_path)
    (tmp_path / "det_10g.onnx").touch()
    detector = InsightFaceDetector(tmp_path)
    image = IMAGE.copy()
    image[..., 0] = 9
    first, second = detector.detect(image)
    assert (detector._network.seen[..., 2] == 9).all(), "the package takes BGR"
    assert first.five_points is not None
    assert first.landmarks is None
    assert second.box == (1, 2, 10, 20)
    assert second.landmarks is not None
    assert second.landmarks.shape == (68, 2)
