"""Morph targets of reconstructed meshes: the ARKit shapes of the face model, at the fitted weights."""

from dataclasses import replace

import numpy as np
import torch

from focus_ray.face_models.arkit import arkit_expressions
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.geometry.mesh import Mesh, MorphTargets
from focus_ray.inference.face_result import FaceResult
from focus_ray.numerics.float32 import full_precision_matmul


def add_morph_targets(result: FaceResult, model: MorphableModel) -> FaceResult:
    """Add ARKit's shapes to the meshes of a face, for GLB files.

    Args:
        result: the face.
        model: face model that it was fitted with.

    Returns:
        The face, whose meshes have a morph target for each of ARKit's shapes that the model has; the same face if it
        has no ARKit weights.
    """
    face, arrays = result
    if face.arkit is None:
        return result
    shapes = arkit_expressions(model)
    with torch.no_grad():
        basis = model.shape_basis[model.n_identity :].cpu()
        offsets = full_precision_matmul(shapes.coefficients.cpu().to(basis), basis.flatten(1))
    weights = np.array([face.arkit.weights[name] for name in shapes.names])
    morphs = MorphTargets(shapes.names, weights, offsets.view(-1, *model.mean.shape).numpy())

    def add(mesh: Mesh) -> Mesh:
        return replace(mesh, morphs=morphs)

    corrected = None if arrays.corrected_mesh is None else add(arrays.corrected_mesh)
    return FaceResult(face, replace(arrays, mesh=add(arrays.mesh), corrected_mesh=corrected))
