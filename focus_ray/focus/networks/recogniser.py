"""The recognisers by kind: which network a state dict belongs to, for files of their owners and for model folders."""

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from focus_ray.focus.networks.face_mesh_network import FaceMeshNetwork, load_face_mesh
from focus_ray.focus.networks.insightface_mbf import InsightMobileFaceNet, load_insightface_mbf
from focus_ray.focus.networks.iresnet import IResNet, load_arcface
from focus_ray.focus.networks.mobilefacenet import MobileFaceNet, load_mobilefacenet

Recogniser = IResNet | InsightMobileFaceNet | MobileFaceNet | FaceMeshNetwork
RecogniserKind = Literal["arcface", "auraface", "insightface_mbf", "mobilefacenet", "face_mesh"]
Loader = Callable[[Mapping[str, Tensor]], Recogniser]

LOADERS: dict[RecogniserKind, Loader] = {
    "arcface": load_arcface,
    "auraface": load_arcface,
    "insightface_mbf": load_insightface_mbf,
    "mobilefacenet": load_mobilefacenet,
    "face_mesh": load_face_mesh,
}
"""Build a network of the size of its state dict and load it, frozen, in eval mode."""
