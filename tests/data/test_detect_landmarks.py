"""The faces of one picture: which one is used, and each reason why a picture gets no landmarks."""

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from focus_ray.data.detect_landmarks import (
    WITH_LANDMARKS,
    DetectSettings,
    PictureDetector,
    PictureFaces,
    find_faces,
    judge_faces,
    resolve_landmark_detector,
)
from focus_ray.data.detectors.by_name import DetectorSpec, resolve_detector
from focus_ray.data.detectors.detection import Detection, DetectorInfo, bounding_box
from focus_ray.data.detectors.weight_files import has_mesh_files
from focus_ray.data.landmark_check import MEAN_LANDMARKS, validate_landmarks
from focus_ray.data.picture_source import open_picture_source
from focus_ray.errors import ConfigError, DataError

PICTURE = np.zeros((200, 300, 3), np.uint8)


def face(side: float, x: float = 150.0, y: float = 100.0) -> Detection:
    """A face of this width, px."""
    points = MEAN_LANDMARKS[:, :2] * [1.0, -1.0]
    points = points * side / np.ptp(points, axis=0).max() + np.array([x, y])
    return Detection(bounding_box(points), landmarks=points)


@dataclass
class Detector:
    """A detector with a fixed result."""

    result: list[Detection] | Exception

    def detect(self, image: np.ndarray) -> list[Detection]:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def png(picture: np.ndarray = PICTURE) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def found(tmp_path: Path, content: bytes | None, result: list[Detection] | Exception) -> PictureFaces:
    """The result of a picture of this content; None: it is missing."""
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    source = open_picture_source(tmp_path)
    ((name, read),) = source.contents(["a.png"])
    return find_faces(name, read, source, Detector(result), DetectSettings())


def test_one_face(tmp_path: Path):
    picture = found(tmp_path, png(), [face(80.0)])
    assert (picture.reason, picture.message) == ("found", "")
    assert picture.reason in WITH_LANDMARKS


def test_the_largest_of_several_faces_is_the_first(tmp_path: Path):
    picture = found(tmp_path, png(), [face(40.0, 50.0), face(90.0, 200.0), face(60.0, 100.0)])
    assert picture.reason == "several_faces"
    assert [round(max(one.box[2:])) for one in picture.faces] == [90, 60, 40]


@pytest.mark.parametrize(
    ("faces", "reason", "message"),
    [
        ([], "no_face", "a.png: no face was found"),
        ([face(20.0)], "face_too_small", "a.png: the largest face has 20 px, less than 32 px"),
        ([Detection((1.0, 2.0, 50.0, 50.0))], "no_landmarks", "a.png: the detector gave no 68 landmarks"),
        ([face(80.0, x=900.0)], "landmarks_rejected", "a.png: the landmarks lie outside"),
    ],
)
def test_a_picture_without_usable_face(faces: list[Detection], reason: str, message: str):
    picture = judge_faces("a.png", PICTURE, faces, DetectSettings())
    assert picture.reason == reason
    assert picture.reason not in WITH_LANDMARKS
    assert picture.message.startswith(message)
    assert list(picture.faces) == faces


def test_a_smaller_face_can_be_wanted():
    assert judge_faces("a.png", PICTURE, [face(20.0)], DetectSettings(least_face=16.0)).reason == "found"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (None, "missing"),
        (b"", "unreadable"),
        (png()[:100], "undecodable"),
        (b"text", "undecodable"),
        ("large", "too large"),
    ],
)
def test_an_unreadable_picture_has_a_kind(tmp_path: Path, content: bytes | str | None, kind: str):
    content = png(np.zeros((1, 40_000, 3), np.uint8)) if content == "large" else content
    assert not isinstance(content, str)
    picture = found(tmp_path, content, [face(80.0)])
    assert (picture.reason, picture.kind) == ("unreadable", kind)
    assert "a.png: " in picture.message
    assert not picture.faces


def test_a_detector_that_fails_on_a_picture_is_a_reason(tmp_path: Path):
    picture = found(tmp_path, png(), cv2.error("no\nmemory"))
    assert picture.reason == "detector_failed"
    assert picture.message == "a.png: the detector failed (no memory)"


@pytest.mark.parametrize("name", ["haar", "haar-fast", "yunet"])
def test_a_detector_of_boxes_is_refused(name: str):
    with pytest.raises(ConfigError, match=f"{name} finds boxes and no 68 landmarks; use mesh"):
        resolve_landmark_detector(name)


def test_no_other_detector_replaces_one_without_weights(tmp_path: Path):
    with pytest.raises(ConfigError, match="the weights of the mesh detector, which finds 68 landmarks, are not inst"):
        resolve_landmark_detector("auto", tmp_path)
    info = DetectorInfo(name="mesh", version="1", files={"face_landmark.tflite": "0" * 64})
    with pytest.raises(ConfigError, match=r"face_landmark\.tflite is missing"):
        PictureDetector(str(tmp_path), DetectorSpec(info), DetectSettings())
    with pytest.raises(ConfigError, match=r"the sha256 of face_landmark\.tflite is"):
        PictureDetector(str(tmp_path), DetectorSpec(info, {"face_landmark.tflite": b"other"}), DetectSettings())


def test_a_folder_that_is_not_on_this_machine(tmp_path: Path):
    with pytest.raises(DataError, match="there is no such folder of photographs"):
        PictureDetector(str(tmp_path / "none"), resolve_detector("haar"), DetectSettings())


@pytest.mark.skipif(not has_mesh_files(), reason="the weights of the mesh detector are not installed")
def test_the_mesh_detector_on_a_folder(tmp_path: Path):
    Image.fromarray(skimage.data.astronaut()[:256, 96:352]).save(tmp_path / "a.png")
    Image.fromarray(PICTURE[:100, :100]).save(tmp_path / "b.png")
    pictures = PictureDetector(str(tmp_path), resolve_landmark_detector(), DetectSettings())
    a, b = pictures.detect(["a.png", "b.png"])
    assert (a.name, a.reason, b.reason) == ("a.png", "found", "no_face")
    points = validate_landmarks(a.faces[0].landmarks, 256, 256)
    np.testing.assert_allclose(points.mean(axis=0), [130.0, 131.0], atol=8.0)
    assert a.faces[0].mesh is not None
