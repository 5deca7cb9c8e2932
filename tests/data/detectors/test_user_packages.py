"""Adapters for packages and weights that only a user can have: stand-ins for the packages, real checks of the files."""

import hashlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from focus_ray.data.detectors import user_packages
from focus_ray.data.detectors.points_106 import to_ibug
from focus_ray.data.detectors.user_packages import (
    FaceAlignmentDetector,
    InsightFaceDetector,
    hash_face_alignment,
    insightface_files,
)
from focus_ray.errors import ConfigError

IMAGE = np.zeros((40, 50, 3), np.uint8)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub folder whose two weight files are named after their own hashes."""
    (tmp_path / "checkpoints").mkdir()
    files = []
    for pattern in ("checkpoints/s3fd-{}.pth", "checkpoints/2DFAN4-{}.pth.tar"):
        name = pattern.format(hashlib.sha256(pattern.encode()).hexdigest()[:10])
        (tmp_path / name).write_bytes(pattern.encode())
        files.append(name)
    monkeypatch.setattr(user_packages, "FACE_ALIGNMENT_FILES", tuple(files))
    return tmp_path


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **content) -> None:
    module = ModuleType(name)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)


class Alignment:
    """Answers like face_alignment.FaceAlignment."""

    def __init__(self, kind: str, **options):
        self.options, self.hub = options, torch.hub.get_dir()
        self.face_detector, self.boxes = self, []

    def detect_from_image(self, image: np.ndarray):
        return self.boxes

    def get_landmarks_from_image(self, image: np.ndarray, detected_faces: list):
        assert len(detected_faces) > 0, "the package warns"
        return [np.full((68, 2), number + 1, np.float32) for number in range(len(detected_faces))]


@pytest.fixture
def face_alignment(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "face_alignment", FaceAlignment=Alignment, LandmarksType=SimpleNamespace(TWO_D="2D"))


@pytest.mark.usefixtures("face_alignment")
def test_face_alignment(hub: Path):
    before = torch.hub.get_dir()
    detector = FaceAlignmentDetector(hub)
    assert detector._network.hub == str(hub)
    assert torch.hub.get_dir() == before
    assert detector._network.options["compile"] is False
    assert Path(detector._network.options["face_detector_kwargs"]["path_to_detector"]).is_file()
    assert detector.detect(IMAGE) == []
    detector._network.boxes = [np.array([1, 2, 11, 22, 0.5]), np.array([0, 0, 4, 4, 0.9])]
    first, second = detector.detect(IMAGE)
    assert first.score == 0.9
    assert second.box == (1, 2, 10, 20)
    assert second.landmarks is not None
    assert (second.landmarks == 1).all()


@pytest.mark.usefixtures("face_alignment")
def test_face_alignment_weights_must_be_there_and_be_what_they_say(hub: Path):
    s3fd, fan = user_packages.FACE_ALIGNMENT_FILES
    assert set(hash_face_alignment(hub)) == {s3fd, fan}
    (hub / fan).write_bytes(b"something else")
    with pytest.raises(ConfigError, match=r"2DFAN4-.*its sha256 begins with"):
        hash_face_alignment(hub)
    (hub / fan).unlink()
    for use in (FaceAlignmentDetector, hash_face_alignment):
        with pytest.raises(ConfigError, match=r"2DFAN4-.*the weight file is missing.*not downloaded automatically"):
            use(hub)


@pytest.mark.parametrize("module", ["face_alignment", "insightface.app.common"])
def test_a_missing_package_is_a_clear_error(module: str, hub: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[detect\]'"):
        FaceAlignmentDetector(hub) if module == "face_alignment" else InsightFaceDetector(hub, "det_10g.onnx")


class Scrfd:
    """Answers like insightface's SCRFD."""

    taskname = "detection"

    def prepare(self, ctx_id: int, input_size: tuple[int, int], det_thresh: float) -> None:
        self.prepared = ctx_id, input_size

    def detect(self, image: np.ndarray):
        self.seen = image
        return np.array([[1, 2, 11, 22, 0.4], [0, 0, 4, 4, 0.8]]), np.stack([np.zeros((5, 2)), np.ones((5, 2))])


class Points:
    """Answers like insightface's Landmark."""

    def __init__(self, taskname: str, found: np.ndarray):
        self.taskname, self.found = taskname, found

    def prepare(self, ctx_id: int) -> None:
        self.prepared = ctx_id

    def get(self, image: np.ndarray, face: SimpleNamespace) -> np.ndarray:
        return self.found + face.bbox[0]


NETWORKS = {
    "det_10g.onnx": Scrfd(),
    "1k3d68.onnx": Points("landmark_3d_68", np.arange(204.0).reshape(68, 3)),
    "2d106det.onnx": Points("landmark_2d_106", np.arange(212.0).reshape(106, 2)),
    "genderage.onnx": SimpleNamespace(taskname="genderage"),
    "other.onnx": None,
}


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a model pack, and insightface's functions that load it."""

    def get_model(name: str, providers: list[str], sess_options: object):
        assert providers == ["CPUExecutionProvider"]
        if not Path(name).stat().st_size:
            raise RuntimeError("protobuf parsing failed")
        return NETWORKS[Path(name).name]

    stand_in(monkeypatch, "onnxruntime", SessionOptions=SimpleNamespace)
    stand_in(monkeypatch, "insightface.app.common", Face=SimpleNamespace)
    stand_in(monkeypatch, "insightface.model_zoo", get_model=get_model)
    for name in NETWORKS:
        (tmp_path / name).write_text(name)
    return tmp_path


def test_insightface_finds_boxes_and_five_points(pack: Path):
    detector = InsightFaceDetector(pack, "det_10g.onnx")
    image = IMAGE.copy()
    image[..., 0] = 9
    first, second = detector.detect(image)
    assert NETWORKS["det_10g.onnx"].prepared == (-1, (640, 640))
    assert (NETWORKS["det_10g.onnx"].seen[..., 2] == 9).all(), "the package takes BGR"
    assert first.five_points is not None
    assert (first.five_points == 1).all()
    assert second.box == (1, 2, 10, 20)
    assert second.landmarks is None


def test_insightface_landmarks_are_ibugs(pack: Path):
    in_space = InsightFaceDetector(pack, "det_10g.onnx", "1k3d68.onnx").detect(IMAGE)[1].landmarks
    assert in_space is not None
    np.testing.assert_array_equal(in_space, np.arange(204.0).reshape(68, 3)[:, :2] + 1)
    of_106 = InsightFaceDetector(pack, "det_10g.onnx", "2d106det.onnx").detect(IMAGE)[1].landmarks
    assert of_106 is not None
    np.testing.assert_array_equal(of_106, to_ibug(np.arange(212.0).reshape(106, 2) + 1))


def test_insightface_files_are_those_of_the_detector(pack: Path):
    assert insightface_files(pack, "insightface") == ["det_10g.onnx", "1k3d68.onnx"]
    assert insightface_files(pack, "insightface-2d106") == ["det_10g.onnx", "2d106det.onnx"]
    (pack / "1k3d68.onnx").unlink()
    assert insightface_files(pack, "insightface") == ["det_10g.onnx", "2d106det.onnx"]
    with pytest.raises(ConfigError, match=r"1k3d68\.onnx: the weight file is missing"):
        insightface_files(pack, "insightface-3d68")
    (pack / "2d106det.onnx").unlink()
    assert insightface_files(pack, "insightface") == ["det_10g.onnx"]
    (pack / "det_500m.onnx").touch()
    with pytest.raises(ConfigError, match="2 detection networks"):
        insightface_files(pack, "insightface")


def test_networks_of_another_kind_are_refused(pack: Path):
    with pytest.raises(ConfigError, match=r"genderage\.onnx: not a network for landmark_3d_68 or landmark_2d_106"):
        InsightFaceDetector(pack, "det_10g.onnx", "genderage.onnx")
    with pytest.raises(ConfigError, match=r"other\.onnx: not a network for detection but unknown"):
        InsightFaceDetector(pack, "other.onnx")
    (pack / "det_10g.onnx").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"det_10g\.onnx: insightface cannot load it \(protobuf"):
        InsightFaceDetector(pack, "det_10g.onnx")
