"""Meshes get the shapes of their face model, at the weights of the face."""

from dataclasses import replace

import numpy as np
import pytest

from focus_ray.face_models.arkit import ARKIT_SHAPES
from focus_ray.inference import Reconstructor
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.morph_targets import add_morph_targets
from focus_ray.model import Model
from tests.arkit_face import arkit_model

NOISE = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def morphable(untrained: Model) -> Model:
    return arkit_model(untrained)


def first_face(model: Model) -> FaceResult:
    return Reconstructor(model).reconstruct(NOISE, box=(10.0, 10.0, 20.0, 20.0))[0]


def test_a_face_has_arkits_weights_and_its_mesh_the_shapes(morphable: Model):
    result = first_face(morphable)
    face_model = morphable.focus.face_model
    assert result.face.arkit is not None
    assert list(result.face.arkit.weights) == list(ARKIT_SHAPES)
    assert result.face.arkit.weights["tongueOut"] == 0
    assert "arkit" in result.face.model_dump(mode="json")
    corrected = result._replace(arrays=replace(result.arrays, corrected_mesh=result.arrays.mesh))
    arrays = add_morph_targets(corrected, face_model).arrays
    for mesh in (arrays.mesh, arrays.corrected_mesh):
        assert mesh is not None
        assert mesh.morphs is not None
        assert mesh.morphs.names == ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp")
        assert mesh.morphs.weights.tolist() == [result.face.arkit.weights[name] for name in mesh.morphs.names]
        jaw = (
            3 * face_model.shape_basis[face_model.n_identity + 4]
            + 2 * face_model.shape_basis[face_model.n_identity + 5]
        )
        np.testing.assert_allclose(mesh.morphs.offsets[0], jaw.numpy(), atol=1e-4)


def test_a_face_of_another_model_is_as_before(untrained: Model):
    result = first_face(untrained)
    assert result.face.arkit is None
    assert add_morph_targets(result, untrained.focus.face_model) is result
    assert "arkit" not in result.face.model_dump()
    assert "arkit" not in result.face.model_dump_json()
