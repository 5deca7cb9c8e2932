"""The weights of the face mesh's trunk, taken out of the detector's .tflite file by OpenCV."""

import cv2
import numpy as np
import torch
from torch import Tensor

from focus_ray.errors import CheckpointError
from focus_ray.focus.networks.face_mesh_network import WIDTHS

_N_CONVOLUTIONS = 1 + 2 * len(WIDTHS)
_N_SLOPES = 1 + len(WIDTHS)


def face_mesh_state(content: bytes) -> dict[str, Tensor]:
    """Read the weights of the trunk.

    Args:
        content: of the .tflite file, whose hash was checked.

    Returns:
        State dict of `FaceMeshNetwork`.

    Raises:
        CheckpointError: the file holds another network.
    """
    try:
        network = cv2.dnn.readNetFromTFLite(np.frombuffer(content, np.uint8))
    except cv2.error:
        raise CheckpointError("the face mesh's file cannot be read by OpenCV; install the detectors again") from None
    layers = [network.getLayer(network.getLayerId(name)) for name in network.getLayerNames()]
    convolutions = [layer.blobs for layer in layers if layer.type == "Convolution"][:_N_CONVOLUTIONS]
    slopes = [layer.blobs for layer in layers if layer.type == "PReLU"][:_N_SLOPES]
    if len(convolutions) < _N_CONVOLUTIONS or len(slopes) < _N_SLOPES:
        raise CheckpointError(
            f"the face mesh's file has {len(convolutions)} convolutions and {len(slopes)} PReLU layers, expected are "
            f"{_N_CONVOLUTIONS} and {_N_SLOPES}; install the detectors again"
        )
    blocks = [f"blocks.{number}." for number in range(len(WIDTHS))]
    names = ["stem", *(block + part for block in blocks for part in ("depthwise", "pointwise"))]
    state: dict[str, Tensor] = {}
    for name, (weight, bias) in zip(names, convolutions, strict=True):
        state[f"{name}.weight"] = torch.from_numpy(np.array(weight))
        state[f"{name}.bias"] = torch.from_numpy(np.array(bias).reshape(-1))
    for name, (slope, *_) in zip(["", *blocks], slopes, strict=True):
        state[f"{name}prelu.weight"] = torch.from_numpy(np.array(slope).reshape(-1))
    return state
