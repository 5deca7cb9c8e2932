"""Loads a recogniser from the file that its owner publishes: a state dict or an ONNX graph."""

from pathlib import Path

from torch import Tensor

from focus_ray.data.detectors.weight_files import MESH_FILE, MESH_FOLDER, MESH_HASHES, sha256, verify_hashes
from focus_ray.data.detectors.weight_files import read_weights as read_detector
from focus_ray.errors import CheckpointError, ConfigError, printable
from focus_ray.focus.networks.recogniser import LOADERS, Recogniser, RecogniserKind
from focus_ray.recognisers.onnx_weights import insightface_mbf_state, iresnet_state
from focus_ray.storage.onnx_file import is_onnx, read_onnx
from focus_ray.storage.weights import read_weights

ONNX_STATES = {"arcface": iresnet_state, "auraface": iresnet_state, "insightface_mbf": insightface_mbf_state}

FILES: dict[RecogniserKind, str] = {
    "arcface": "ArcFace's backbone.pth of arcface_torch, or insightface's w600k_r50.onnx",
    "auraface": "AuraFace's glintr100.onnx",
    "insightface_mbf": "insightface's w600k_mbf.onnx, or its .pth of arcface_torch",
    "mobilefacenet": "mobilefacenet.pt, the state dict of a MobileFaceNet with 128 outputs",
    "face_mesh": f"nothing (the package's {MESH_FILE} is used)",
}
"""What to give as weights of each kind."""


def load_recogniser(kind: RecogniserKind, path: Path | None) -> Recogniser:
    """Load a recogniser.

    Args:
        kind: of recogniser.
        path: file of its weights; None for the face mesh, whose file is part of the package.

    Returns:
        The network, frozen, in eval mode.

    Raises:
        CheckpointError: the file is missing, malformed or of another network.
        ConfigError: no file is given and one is needed, or the face mesh's file has another hash.
        StorageError: the face mesh's file cannot be read.
    """
    if kind == "face_mesh":
        return LOADERS[kind](_face_mesh_state(path or MESH_FOLDER / MESH_FILE))
    if path is None:
        raise ConfigError(f"the recogniser {kind} needs weights; give {FILES[kind]} as model.perceptual.weights=FILE")
    state = _onnx_state(kind, path) if is_onnx(path) else read_weights(path)
    try:
        return LOADERS[kind](state)
    except CheckpointError as error:
        raise CheckpointError(f"{printable(path)}: {error}") from None


def _onnx_state(kind: RecogniserKind, path: Path) -> dict[str, Tensor]:
    if kind not in ONNX_STATES:
        raise CheckpointError(f"{printable(path)}: {kind} is not read from ONNX files; give {FILES[kind]}")
    graph = read_onnx(path)
    try:
        return ONNX_STATES[kind](graph)
    except CheckpointError as error:
        raise CheckpointError(f"{printable(path)} {error}") from None


def _face_mesh_state(path: Path) -> dict[str, Tensor]:
    from focus_ray.recognisers.face_mesh_weights import face_mesh_state  # imports OpenCV

    content = read_detector(path)
    verify_hashes({MESH_FILE: sha256(content)}, {MESH_FILE: MESH_HASHES[MESH_FILE]}, printable(path))
    return face_mesh_state(content)
