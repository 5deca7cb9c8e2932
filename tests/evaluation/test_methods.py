"""Methods: an autoencoder and the law of its mask."""

import pytest
import torch

from focus_ray import model as models
from focus_ray import prior as priors
from focus_ray.errors import FaceModelError
from focus_ray.evaluation.methods import Method, all_ones_mask, load_method
from focus_ray.focus.parameters import split_theta
from focus_ray.inference.predictor import Predictor
from tests.priors.conftest import stand_in
from tests.test_prior import prior_of


def test_one_pass_is_what_the_model_says(model, faces):
    fit = Method("ours", model).fit(faces.images, faces.landmarks)
    said = Predictor(model.focus, model.refine)(faces.images, faces.landmarks, steps=0)
    assert torch.equal(fit.theta, said.theta)
    assert torch.equal(fit.mask, said.mask)


def test_refined_is_what_the_model_refines_to(model, faces):
    fit = Method("ours", model).with_refine_steps(3).fit(faces.images, faces.landmarks)
    said = Predictor(model.focus, model.refine)(faces.images, faces.landmarks, steps=3)
    assert torch.equal(fit.theta, said.theta)
    assert not fit.theta.requires_grad


@pytest.mark.parametrize("steps", [0, 2])
def test_a_method_without_outliers_sees_face_everywhere(model, faces, steps):
    fit = Method("plain", model, all_ones_mask, refine_steps=steps).fit(faces.images, faces.landmarks)
    assert torch.equal(fit.mask, fit.rendering.mask)


def test_another_law_leads_the_refinement(model, faces):
    def left_half(images, rendering):
        half = torch.zeros_like(rendering.mask)
        half[..., : images.shape[-1] // 2] = 1
        return half * rendering.mask

    thetas = [
        Method("x", model, law, refine_steps=3).fit(faces.images, faces.landmarks).theta
        for law in (left_half, all_ones_mask)
    ]
    assert not torch.allclose(thetas[0], thetas[1])


def test_the_face_at_rest_has_identity_alone_and_no_systematic_error(model, faces):
    method = Method("ours", model)
    theta = method.fit(faces.images, faces.landmarks).theta
    parameters = split_theta(theta)
    silent = torch.cat([parameters.identity, torch.zeros_like(parameters.expression)], dim=1)
    neutral = method.neutral_vertices(theta)
    assert torch.equal(neutral, model.focus.face_model.vertices(silent))
    prior = prior_of(model)
    assert torch.allclose(Method("mp", model, prior=prior).neutral_vertices(theta), neutral - prior.neutral_error)


def test_a_method_is_read_from_a_folder(model, faces, tmp_path, ellipsoid_face):
    models.save(tmp_path / "model", model)
    priors.save(tmp_path / "prior", prior_of(model))
    method = load_method(tmp_path / "model", name="FOCUS-MP", prior=str(tmp_path / "prior"))
    assert (method.name, method.prior is None) == ("FOCUS-MP", False)
    assert load_method(tmp_path / "model").prior is None
    assert load_method(tmp_path / "model", mask="all_ones").mask_fn is all_ones_mask
    assert method.digest_of != load_method(tmp_path / "model").digest_of
    models.save(tmp_path / "toy", stand_in(ellipsoid_face))
    with pytest.raises(FaceModelError, match="another face model"):
        load_method(tmp_path / "toy", prior=str(tmp_path / "prior"))
