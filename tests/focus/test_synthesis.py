"""Random renders are functions of their seed, also in parts, and the parameter loss is zero at the truth."""

import pytest
import torch

from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import ParameterScales, split_theta
from focus_ray.focus.render.renderer import Renderer
from focus_ray.focus.synthesis import (
    ParameterWeights,
    SamplingDistributions,
    make_generator,
    parameter_loss,
    render_random,
)


def test_the_same_seeds_give_the_same_faces_and_others_do_not(ellipsoid_face):
    renderer = Renderer(ellipsoid_face, Camera(image_size=32))
    first, same, other = (
        render_random(renderer, SamplingDistributions(), 2, make_generator(*seeds))
        for seeds in ((1, 5), (1, 5), (1, 6))
    )
    assert torch.equal(first.images, same.images)
    assert torch.equal(first.theta, same.theta)
    assert not torch.allclose(first.images, other.images)


def test_renders_are_pictures(ellipsoid_face):
    images, theta = render_random(
        Renderer(ellipsoid_face, Camera(image_size=32)), SamplingDistributions(), 8, make_generator(0)
    )
    assert images.shape == (8, 3, 32, 32)
    assert theta.shape == (8, 257)
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    assert float(images.std()) > 0.1


def test_laws_govern_their_coefficients(ellipsoid_face):
    still = SamplingDistributions(identity=0, expression=0, pitch=0, yaw=0, roll=0, translation_xy=0, translation_z=0)
    _, theta = render_random(Renderer(ellipsoid_face, Camera(image_size=32)), still, 4, make_generator(0))
    parts = split_theta(theta)
    assert not parts.alpha.any()
    assert not parts.rotation.any()
    assert not parts.translation.any()
    assert parts.albedo.std() > 0.7


def test_parameter_loss_is_zero_at_the_truth_and_names_what_is_wrong(ellipsoid_face):
    renderer = Renderer(ellipsoid_face, Camera(image_size=32))
    _, theta = render_random(renderer, SamplingDistributions(), 4, make_generator(0))
    weights, scales = ParameterWeights(), ParameterScales()
    assert all(term == 0 for term in parameter_loss(renderer, scales, theta, theta, weights).values())
    turned = theta.clone()
    turned[:, -6] += scales.rotation  # one unit of the head
    terms = parameter_loss(renderer, scales, turned, theta, weights)
    assert {name for name, term in terms.items() if term > 0} == {"camera"}
    assert torch.isclose(terms["camera"], torch.tensor(weights.camera / 6), rtol=1e-3)


def test_vertex_terms_are_in_square_millimetres(ellipsoid_face):
    renderer = Renderer(ellipsoid_face, Camera(image_size=32))
    theta = torch.zeros(1, 257)
    moved = theta.clone()
    moved[:, 3] = 1.0
    terms = parameter_loss(renderer, ParameterScales(), moved, theta, ParameterWeights(vertices=1.0))
    expected = ellipsoid_face.shape_basis[3].square().sum(-1).mean()
    assert torch.isclose(terms["vertices"], expected, rtol=1e-4)


@pytest.mark.parametrize("only", [range(0, 3), range(2, 5), range(5, 7), range(0, 7)])
def test_a_part_of_the_renders_has_the_bits_of_those_rows(ellipsoid_face, only):
    renderer = Renderer(ellipsoid_face, Camera(image_size=32))
    whole = render_random(renderer, SamplingDistributions(), 7, make_generator(3))
    part = render_random(renderer, SamplingDistributions(), 7, make_generator(3), subset=only)
    assert torch.equal(part.images, whole.images[only.start : only.stop])
    assert torch.equal(part.theta, whole.theta[only.start : only.stop])


def test_one_render_by_itself_differs_by_rounding_only(ellipsoid_face):
    """A product with one row is another routine of the BLAS than one with several."""
    renderer = Renderer(ellipsoid_face, Camera(image_size=32))
    whole = render_random(renderer, SamplingDistributions(), 7, make_generator(3))
    part = render_random(renderer, SamplingDistributions(), 7, make_generator(3), subset=range(6, 7))
    assert torch.equal(part.theta, whole.theta[6:])
    torch.testing.assert_close(part.images, whole.images[6:], rtol=0, atol=1e-4)


def test_a_part_leaves_the_random_numbers_where_the_whole_does(ellipsoid_face):
    renderer, rngs = Renderer(ellipsoid_face, Camera(image_size=32)), (make_generator(3), make_generator(3))
    for rng, only in zip(rngs, (None, range(1, 2)), strict=True):
        render_random(renderer, SamplingDistributions(), 4, rng, subset=only)
    assert torch.equal(*(torch.rand(3, generator=rng) for rng in rngs))
