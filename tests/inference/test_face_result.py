"""FACE: exactly the contract's keys, a round trip through JSON, and refusal of what does not fit."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from focus_ray.inference.face_result import Face


def record() -> dict[str, Any]:
    part = dict.fromkeys(("eyes", "brows", "nose", "mouth", "cheeks", "jaw"), 0.5)
    sizes = {"identity": 80, "expression": 64, "albedo": 80, "light": 27, "camera": 6}
    return {
        "box": [1.0, 2.0, 30.0, 40.0],
        "landmarks": [[float(i), 2.0 * i] for i in range(68)],
        "pose": {"rotation": [0.1, 0.2, 0.3], "translation": [1.0, 2.0, 3.0]},
        "theta": {name: [0.25] * size for name, size in sizes.items()},
        "occlusion_fraction": 0.125,
        "visibility": part,
        "quality": ["small_face", "landmarks_from_model"],
        "model_version": "test",
        "detector": {"name": "mesh", "version": "mediapipe 0.10.14", "files": {"face_landmark.tflite": "1055cb9d"}},
        "corrected": False,
        "projection": [[float(4 * row + column) for column in range(4)] for row in range(3)],
        "focal_length": 1015.0,
        "landmark_vertices": [[i, i + 1, i + 2] for i in range(68)],
        "landmark_weights": [[0.5, 0.25, 0.25]] * 68,
    }


def test_the_contracts_keys_and_nothing_else():
    face = Face.model_validate(record())
    assert json.loads(face.model_dump_json()) == record()
    assert Face.model_validate_json(face.model_dump_json()) == face


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("occlusion_fraction", 1.5),
        ("occlusion_fraction", float("nan")),
        ("landmarks", [[0.0, 0.0]] * 67),
        ("quality", ["blurred"]),
        ("extra", 1),
    ],
)
def test_what_does_not_fit_is_refused(key: str, value: object):
    with pytest.raises(ValidationError):
        Face.model_validate(record() | {key: value})
