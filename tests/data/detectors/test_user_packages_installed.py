"""face-alignment and insightface themselves, on random weights in their published layouts, without a network.

Skipped where they are not installed: `make check-detectors` installs both in an environment of their own and runs this.
"""

import asyncio
import io
import json
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from focus_ray import cli
from focus_ray.data.detectors import user_packages
from focus_ray.data.detectors.by_name import resolve_detector
from focus_ray.data.detectors.user_packages import FACE_ALIGNMENT_FILES
from focus_ray.errors import ConfigError
from focus_ray.inference import Reconstructor
from focus_ray.serving import outputs
from focus_ray.serving.schema import Options
from focus_ray.serving.service import ReconstructionService
from focus_ray.serving.settings import ServingSettings
from tests.data.detectors.published_weights import (
    BRIGHT,
    HALF_SIDE,
    bright_squares,
    network_points,
    write_buffalo,
    write_face_alignment,
)

pytestmark = [
    pytest.mark.skipif(
        find_spec("face_alignment") is None or find_spec("insightface") is None,
        reason="face-alignment and insightface are not installed; make check-detectors runs these tests",
    ),
    pytest.mark.filterwarnings("default"),  # of packages that are not ours
]
LANDMARKS = ("insightface", "insightface-3d68", "insightface-2d106")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package may fetch anything."""

    def refuse(*args, **options):
        raise AssertionError(f"a download was tried: {args}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("face_alignment.utils.download_url_to_file", refuse)
    monkeypatch.setattr("requests.get", refuse)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    write_face_alignment(folder)
    return folder


@pytest.fixture
def any_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights cannot have the published hashes: take those that the files have."""

    def hash_files(hub: Path) -> dict[str, str]:
        return {name: user_packages.sha256((hub / name).read_bytes()) for name in FACE_ALIGNMENT_FILES}

    monkeypatch.setattr("focus_ray.data.detectors.by_name.hash_face_alignment", hash_files)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "buffalo_l"
    write_buffalo(folder)
    return folder


@pytest.mark.usefixtures("any_weights")
def test_face_alignment_gives_what_the_package_gives(hub: Path, monkeypatch: pytest.MonkeyPatch):
    import face_alignment

    picture = bright_squares(256)
    detector = resolve_detector("face-alignment", hub).build()
    faces = detector.detect(picture)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(hub))
    own = face_alignment.FaceAlignment(
        face_alignment.LandmarksType.TWO_D,
        device="cpu",
        face_detector_kwargs={"path_to_detector": str(hub / FACE_ALIGNMENT_FILES[0])},
        compile=False,
    )
    landmarks, _, boxes = own.get_landmarks_from_image(picture, return_bboxes=True)
    assert len(faces) == len(boxes) > 0
    for face in faces:
        (index,) = [number for number, box in enumerate(boxes) if float(box[4]) == face.score]
        assert face.landmarks is not None
        np.testing.assert_array_equal(face.landmarks, landmarks[index])
        x, y, width, height = face.box
        np.testing.assert_allclose((x, y, x + width, y + height), boxes[index][:4], rtol=1e-6)
    assert detector.info.version == "face-alignment 1.5.0"


@pytest.mark.usefixtures("any_weights")
def test_face_alignment_without_a_face(tmp_path: Path):
    write_face_alignment(tmp_path, faces=False)
    assert resolve_detector("face-alignment", tmp_path).build().detect(bright_squares(128)) == []


def test_face_alignment_weights_that_are_not_the_published_ones(hub: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"s3fd-619a316812\.pth: its sha256 begins with"):
        resolve_detector("face-alignment", hub)
    with pytest.raises(ConfigError, match=r"s3fd-619a316812\.pth: the weight file is missing; put"):
        resolve_detector("face-alignment", tmp_path)


@pytest.mark.parametrize("name", LANDMARKS)
def test_insightface_gives_what_the_package_gives(name: str, pack: Path):
    from insightface.app import FaceAnalysis

    picture = bright_squares(800, ((5, 5), (14, 13)))
    spec = resolve_detector(name, pack)
    faces = spec.build().detect(picture)
    own = FaceAnalysis(name=str(pack), providers=["CPUExecutionProvider"])
    own.prepare(ctx_id=-1, det_size=(640, 640))
    assert {task: model.input_std for task, model in own.models.items()} == {
        "detection": 128.0,
        "landmark_2d_106": 1.0,
        "landmark_3d_68": 1.0,
        "genderage": 1.0,
        "recognition": 127.5,
    }, "the package takes the files for what the published ones are"
    found = sorted(own.get(np.ascontiguousarray(picture[..., ::-1])), key=lambda face: -face.det_score)
    assert len(faces) == len(found) == 2
    assert spec.info.version == "insightface 2.1"
    for face, other in zip(faces, found, strict=True):
        np.testing.assert_allclose(face.box, (*other.bbox[:2], *(other.bbox[2:] - other.bbox[:2])), rtol=1e-5)
        np.testing.assert_array_equal(face.five_points, other.kps)
        if name != "insightface-2d106":
            np.testing.assert_allclose(face.landmarks, other.landmark_3d_68[:, :2], rtol=1e-5)
        assert face.landmarks is not None
        middle = np.array(face.box[:2]) + np.array(face.box[2:]) / 2
        expected = middle + network_points() * 0.75 * max(face.box[2:])
        assert np.abs(face.landmarks - expected).max() < 0.05 * face.side


def test_insightface_boxes_are_where_the_squares_are(pack: Path):
    (face,) = resolve_detector("insightface", pack).build().detect(bright_squares(320, ((4, 6),)))
    np.testing.assert_allclose(face.centre, np.array([6, 4]) * BRIGHT / 2, atol=1)  # the corner of the cell
    assert face.side == pytest.approx(HALF_SIDE * BRIGHT, rel=0.05)


def test_insightface_files_that_are_no_networks(pack: Path, tmp_path: Path):
    (tmp_path / "det_10g.onnx").write_bytes(b"no network")
    with pytest.raises(ConfigError, match=r"det_10g\.onnx: insightface cannot load it"):
        resolve_detector("insightface", tmp_path).build()
    (tmp_path / "det_10g.onnx").write_bytes((pack / "genderage.onnx").read_bytes())
    with pytest.raises(ConfigError, match=r"det_10g\.onnx: not a network for detection but genderage"):
        resolve_detector("insightface", tmp_path).build()


def commands(hub: Path, pack: Path) -> dict[str, list[str]]:
    weights = {"face-alignment": hub, **dict.fromkeys(LANDMARKS, pack)}
    return {name: ["--detector", name, "--detector-weights", str(folder)] for name, folder in weights.items()}


@pytest.mark.usefixtures("any_weights")
@pytest.mark.parametrize("name", ["face-alignment", *LANDMARKS])
def test_reconstruct(name: str, hub: Path, pack: Path, tmp_path: Path):
    Image.fromarray(bright_squares(320, ((9, 10),))).save(tmp_path / "face.png")
    chosen = commands(hub, pack)[name]
    arguments = ["reconstruct", str(tmp_path / "face.png"), "--out", str(tmp_path / "out"), "--refine", "0", *chosen]
    assert cli.main(arguments) == 0
    (row,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert row["status"] == "ok"
    assert row["faces"][0]["detector"]["name"] == name


@pytest.mark.usefixtures("any_weights")
@pytest.mark.parametrize("name", ["face-alignment", *LANDMARKS])
def test_an_endpoint_detects_with_it(name: str, hub: Path, pack: Path, service_of):
    _, _, _, folder = commands(hub, pack)[name]
    service = service_of(ServingSettings(detector=name, detector_weights=folder))
    content = io.BytesIO()
    Image.fromarray(bright_squares(320, ((9, 10),))).save(content, "PNG")
    answer = asyncio.run(service.reconstruct(content.getvalue(), Options(refine=False), "r-1", outputs.inline_output))
    assert answer.faces[0].detector is not None
    assert answer.faces[0].detector.name == name


@pytest.fixture
def service_of(untrained):
    from focus_ray.serving.fitting import Fitter
    from focus_ray.serving.settings import BatchingSettings
    from tests.serving.test_service import Here

    opened = []

    def service(settings: ServingSettings) -> ReconstructionService:
        fitter = Fitter(Reconstructor(untrained), BatchingSettings(batch=2))
        opened.append(ReconstructionService(Here(fitter), settings))
        return opened[-1]

    yield service
    for one in opened:
        one.close()


@pytest.mark.usefixtures("any_weights")
@pytest.mark.parametrize("name", ["face-alignment", *LANDMARKS])
def test_data_detect(name: str, hub: Path, pack: Path, tmp_path: Path):
    folder, out = tmp_path / "photographs", tmp_path / "out"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(bright_squares(320, ((9, 9 + number),))).save(folder / f"{number}.png")
    status = cli.main(["data", "detect", str(folder), "--out", str(out), "--local", *commands(hub, pack)[name]])
    report = json.loads((out / "detect.json").read_text())
    assert report["detector"]["name"] == name
    # FAN's heat maps are noise, so that no picture has landmarks, which is an error
    reason, expected = ("landmarks_rejected", 3) if name == "face-alignment" else ("found", 0)
    assert (report["counts"][reason], status) == (2, expected)


def test_data_detect_names_what_the_pack_lacks(pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "det_10g.onnx").write_bytes((pack / "det_10g.onnx").read_bytes())
    assert (
        cli.main(["data", "detect", str(tmp_path), "--detector", "insightface", "--detector-weights", str(tmp_path)])
        == 2
    )
    assert "put the pack's 1k3d68.onnx or 2d106det.onnx there" in capsys.readouterr().err
