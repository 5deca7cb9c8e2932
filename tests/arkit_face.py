"""The ellipsoid face with a few of ARKit's shapes, named as ICT-FaceKit names them."""

from dataclasses import replace

import torch

from focus_ray import model as models
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.model import Model
from tests.ellipsoid_face import ellipsoid_face

NAMES = ("browInnerUp_L", "browInnerUp_R", "jawOpen", "mouthSmile_L", "mouthSmile_R")


def named(model: MorphableModel, names: tuple[str, ...], coefficients: torch.Tensor) -> MorphableModel:
    """The model with expressions that have names."""
    tensors = model.tensors() | {"named_expressions": coefficients}
    return MorphableModel.from_tensors(tensors, model.description() | {"expressions": list(names)})


def arkit_face() -> MorphableModel:
    """Each shape is two of the leading modes; the smiles share one of them."""
    coefficients = torch.zeros(len(NAMES), 64)
    for row, (first, second) in enumerate([(0, 1), (2, 3), (4, 5), (6, 7), (7, 8)]):
        coefficients[row, first], coefficients[row, second] = 3.0, 2.0
    return named(ellipsoid_face(), NAMES, coefficients)


def arkit_model(untrained: Model) -> Model:
    """The untrained model with this face."""
    torch.manual_seed(0)
    return replace(untrained, focus=models.build(untrained.settings, arkit_face()).eval().requires_grad_(False))
