"""Detectors by name: what a process that builds one gets, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle

from focus_ray.data.detectors import by_name
from focus_ray.data.detectors.by_name import DETECTOR_NAMES, DetectorSpec, resolve_detector
from focus_ray.data.detectors.weight_files import MESH_FILE, MESH_HASHES
from focus_ray.errors import ConfigError


def test_auto_is_the_mesh_detector(mesh_spec: DetectorSpec):
    assert resolve_detector() == mesh_spec
    assert mesh_spec.info.files == MESH_HASHES
    assert mesh_spec.info.label == "mesh (mediapipe 0.10.14)"


def test_auto_without_weights_is_the_haar_detector_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(by_name, "MESH_FOLDER", tmp_path)
    spec = resolve_detector()
    assert spec.info.name == "haar"
    assert "the weights of the mesh detector are not installed" in caplog.text
    assert set(spec.info.files) == {f"{name}.xml" for name in by_name.CASCADES}
    with pytest.raises(ConfigError, match=r"face_detection_short_range\.tflite: the weight file is missing"):
        resolve_detector("mesh")


def test_another_process_builds_it_from_the_bytes_it_gets(
    mesh_spec: DetectorSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
):
    sent = cloudpickle.loads(cloudpickle.dumps(mesh_spec))
    monkeypatch.setattr(by_name, "MESH_FOLDER", tmp_path)  # as on a node whose package has no weights
    (face,) = sent.build().detect(astronaut)
    (same,) = mesh_spec.build().detect(astronaut)
    assert face.box == same.box


def test_a_process_that_lacks_weights_fails(mesh_spec: DetectorSpec):
    with pytest.raises(ConfigError, match=f"the mesh detector: {MESH_FILE} is missing"):
        replace(
            mesh_spec, weights={name: data for name, data in mesh_spec.weights.items() if name != MESH_FILE}
        ).build()
    altered = {**mesh_spec.weights, MESH_FILE: mesh_spec.weights[MESH_FILE][:-1]}
    with pytest.raises(ConfigError, match=f"the mesh detector: the sha256 of {MESH_FILE} is"):
        replace(mesh_spec, weights=altered).build()


def test_cascades_of_another_opencv_are_refused():
    spec = resolve_detector("haar")
    files = {name: "0" * 64 for name in spec.info.files}
    with pytest.raises(ConfigError, match="the haar detector: the sha256 of haarcascade"):
        replace(spec, info=spec.info.model_copy(update={"files": files})).build()


@pytest.mark.parametrize("name", ["haar", "haar-fast"])
def test_the_cascades_by_name(name: str, astronaut: np.ndarray):
    detector = resolve_detector(name).build()
    assert detector.info.name == name
    (face,) = detector.detect(astronaut)
    assert np.linalg.norm(face.centre - [223.0, 115.0]) < 12


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dlib", "there is no detector 'dlib'; choose from auto, mesh, haar"),
        ("yunet", "the detector yunet needs weights"),
        ("insightface", "the detector insightface needs weights"),
        ("insightface-2d106", "the detector insightface-2d106 needs weights"),
        ("face-alignment", "the detector face-alignment needs weights"),
    ],
)
def test_names_that_are_refused(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        resolve_detector(name)


def test_weights_for_a_detector_without_any(tmp_path: Path):
    with pytest.raises(ConfigError, match="the detector haar has no weights to give"):
        resolve_detector("haar", tmp_path)


@pytest.mark.parametrize("name", ["mesh", "yunet", "face-alignment", "insightface", "insightface-3d68"])
def test_folders_without_weights(name: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"missing|\.onnx files|0 detection networks"):
        resolve_detector(name, tmp_path)


@pytest.mark.shared
def test_yunet_by_its_file_and_by_its_folder(shared_data: Path, tmp_path: Path, astronaut: np.ndarray):
    file = shared_data / "yunet" / "yunet_n_640_640.onnx"
    (tmp_path / file.name).write_bytes(file.read_bytes())
    assert resolve_detector("yunet", file) == resolve_detector("yunet", tmp_path)
    assert len(resolve_detector("yunet", file).build().detect(astronaut)) == 1
    with pytest.raises(ConfigError, match=r"2 \.onnx files; give the file"):
        resolve_detector("yunet", shared_data / "yunet")


def test_every_name_is_resolved_and_built_by_somebody():
    assert set(DETECTOR_NAMES) - {"auto"} == by_name._RESOLVERS.keys() == by_name._BUILDERS.keys()
