"""The trunk of the face mesh in PyTorch against OpenCV's, and files that are not of it."""

import cv2
import numpy as np
import pytest
import torch

from focus_ray.data.detectors.weight_files import MESH_FILE, MESH_FOLDER, SHORT_RANGE_FILE
from focus_ray.errors import CheckpointError
from focus_ray.focus.networks.face_mesh_network import CROP_SIZE, N_SHALLOW, load_face_mesh
from focus_ray.recognisers.face_mesh_weights import face_mesh_state

pytestmark = pytest.mark.skipif(
    not (MESH_FOLDER / MESH_FILE).is_file(), reason="the detector's weights are not installed"
)


def test_the_maps_are_those_of_opencv():
    content = (MESH_FOLDER / MESH_FILE).read_bytes()
    seen = np.random.default_rng(0).random((1, 3, CROP_SIZE, CROP_SIZE), dtype=np.float32)
    reference = cv2.dnn.readNetFromTFLite(np.frombuffer(content, np.uint8))
    reference.setInput(seen)
    early, deep = reference.forward(["p_re_lu_3", "p_re_lu_17"])
    network = load_face_mesh(face_mesh_state(content))
    shallow = network.shallow(torch.from_numpy(seen))
    np.testing.assert_allclose(shallow, early, atol=1e-4)
    np.testing.assert_allclose(network.blocks[N_SHALLOW:](shallow), deep, atol=1e-4)
    np.testing.assert_allclose(network(torch.from_numpy(seen)), deep.mean(axis=(2, 3)), atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"TFL3" * 20])
def test_other_files_are_refused(content):
    with pytest.raises(CheckpointError, match="cannot be read by OpenCV"):
        face_mesh_state(content)


def test_the_other_network_of_the_detector_is_refused():
    with pytest.raises(CheckpointError, match="PReLU layers, expected are 33 and 17"):
        face_mesh_state((MESH_FOLDER / SHORT_RANGE_FILE).read_bytes())
