"""Weights of ARKit's shapes: known ones come back, none leaves [0, 1], and what they leave is told."""

import numpy as np
import pytest
import torch

from focus_ray.errors import FaceModelError
from focus_ray.face_models.arkit import ARKIT_SHAPES, ArkitFitter, ArkitWeights, arkit_expressions, has_arkit_shapes
from focus_ray.face_models.morphable_model import MorphableModel
from tests.arkit_face import NAMES, arkit_face, named


@pytest.fixture(scope="module")
def face() -> MorphableModel:
    return arkit_face()


def fitted(face: MorphableModel, weights: list[float], sparsity: float = 0.0) -> ArkitWeights:
    assert face.expressions is not None
    return ArkitFitter(face, sparsity).fit(torch.tensor(weights) @ face.expressions.coefficients)


def by_name(found: ArkitWeights) -> dict[str, float]:
    return {name: weight for name, weight in zip(ARKIT_SHAPES, found.weights.tolist(), strict=True) if weight > 1e-3}


def test_the_names_are_apples():
    assert len(ARKIT_SHAPES) == len(set(ARKIT_SHAPES)) == 52
    assert ARKIT_SHAPES[:2] == ("eyeBlinkLeft", "eyeLookDownLeft")
    assert ARKIT_SHAPES[14:18] == ("jawForward", "jawLeft", "jawRight", "jawOpen")
    assert ARKIT_SHAPES[-1] == "tongueOut"


def test_known_weights_come_back_and_both_sides_are_one(face: MorphableModel):
    found = fitted(face, [0.2, 0.6, 0.9, 0.0, 0.5])
    assert by_name(found) == pytest.approx({"browInnerUp": 0.4, "jawOpen": 0.9, "mouthSmileRight": 0.5}, abs=0.03)
    assert found.residual_mm < 0.1


def test_sparsity_prefers_few_shapes(face: MorphableModel):
    weights = [0.5, 0.5, 0.5, 0.05, 0.5]
    plain, sparse = fitted(face, weights), fitted(face, weights, sparsity=0.5)
    assert len(by_name(sparse)) < len(by_name(plain))
    assert sparse.weights.sum() < plain.weights.sum()
    assert sparse.residual_mm > plain.residual_mm


def test_a_shape_that_moves_the_landmarks_little_costs_more(face: MorphableModel):
    """Of one shape, the fit loses cost / (2 |shape|^2), with a cost of surface movement over landmark movement."""
    basis = face.shape_basis[face.n_identity :]
    costs = []
    for mode in (0, 40):
        coefficients = torch.zeros(1, 64)
        coefficients[0, mode] = 5.0
        fitter = ArkitFitter(named(face, ("jawOpen",), coefficients), sparsity=0.02, sigma_cost=0.0)
        found = fitter.fit(0.5 * coefficients[0])
        surface = ArkitFitter(named(face, ("jawOpen",), 0 * coefficients), 0.0).fit(coefficients[0]).residual_mm
        landmarks = face.landmarks(5.0 * basis[mode : mode + 1])[0, :, :2].square().sum(dim=1).mean().sqrt()
        lost = 0.02 * surface / float(landmarks) / (2 * surface**2)
        assert found.weights[ARKIT_SHAPES.index("jawOpen")] == pytest.approx(0.5 - lost, abs=1e-4)
        costs.append(lost)
    assert max(costs) > 1e-3


def test_a_negative_weight_is_not_read_as_another_shape(face: MorphableModel):
    """The other shape moves the large mode as the negative weight does, and a small one improbably far."""
    coefficients = torch.zeros(2, 64)
    coefficients[0, 0] = -2.0
    coefficients[1, 0], coefficients[1, 60] = 1.0, 6.0
    other = named(face, ("mouthShrugLower", "mouthLowerDown_L"), coefficients)
    shrugged = -0.4 * coefficients[0]
    by_surface = by_name(ArkitFitter(other, sparsity=0.0, sigma_cost=0.0).fit(shrugged))
    assert by_surface["mouthLowerDownLeft"] > 0.5
    found = by_name(ArkitFitter(other, sparsity=0.0).fit(shrugged))
    assert found["mouthLowerDownLeft"] < 0.7 * by_surface["mouthLowerDownLeft"]


def test_weights_have_bounds_and_the_rest_is_told(face: MorphableModel):
    found = fitted(face, [0.0, 0.0, 1.5, -0.5, 0.0])
    assert by_name(found)["jawOpen"] == 1.0
    assert by_name(found).get("mouthSmileLeft", 0.0) == 0.0
    basis = face.shape_basis[face.n_identity :]
    assert face.expressions is not None
    left = torch.tensor([0.0, 0.0, 0.5, -0.5, 0.0]) @ face.expressions.coefficients
    rough = torch.einsum("e,evd->vd", left, basis).square().sum(dim=1).mean().sqrt()
    assert found.residual_mm == pytest.approx(float(rough), rel=0.3)


def test_shapes_for_files_have_apples_names_and_order(face: MorphableModel):
    shapes = arkit_expressions(face)
    assert shapes.names == ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp")
    assert face.expressions is not None
    torch.testing.assert_close(shapes.coefficients[3], face.expressions.coefficients[:2].sum(dim=0))


def test_a_shape_that_moves_nothing_has_no_weight(face: MorphableModel):
    assert face.expressions is not None
    still = named(face, NAMES, torch.zeros_like(face.expressions.coefficients))
    assert by_name(ArkitFitter(still).fit(torch.ones(64))) == {}


@pytest.mark.parametrize("names", [(), ("grin",), ("jawOpen", "grin")])
def test_other_models_are_refused(ellipsoid_face: MorphableModel, names: tuple[str, ...]):
    other = named(ellipsoid_face, names, torch.ones(len(names), 64)) if names else ellipsoid_face
    assert not has_arkit_shapes(other)
    with pytest.raises(FaceModelError, match="blendshapes of ARKit"):
        ArkitFitter(other)
    with pytest.raises(FaceModelError, match="blendshapes of ARKit"):
        arkit_expressions(other)


def test_the_sides_that_nobody_sees_do_not_count(face: MorphableModel):
    """Behind the silhouette of the frontal view the surface may move as it likes."""
    back = face.mean[:, 2] < np.percentile(face.mean[:, 2].numpy(), 2)
    moved = face.shape_basis.clone()
    moved[face.n_identity :, back] *= 1.5
    tensors = face.tensors() | {"shape_basis": moved}
    other = MorphableModel.from_tensors(tensors, face.description())
    assert fitted(other, [0, 0, 1.5, 0, 0]).residual_mm < 1.05 * fitted(face, [0, 0, 1.5, 0, 0]).residual_mm
