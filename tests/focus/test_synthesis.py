"""Random renders are functions of their seed, also in parts, and the parameter loss is zero at the truth."""

import pytest
import torch

from focus_ray.face_models.named_expressions import NamedExpressions
from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import ParameterScales, split_theta
from focus_ray.focus.render.renderer import Renderer
from focus_ray.focus.synthesis import (
    ParameterWeights,
    SamplingDistributions,
    make_generator,
    parameter_loss,
    render_random,
    sample_named_expressions,
    sample_theta,
    split_side,
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


NAMED = NamedExpressions(("jawOpen", "eyeBlink_L", "eyeBlink_R"), 10 * torch.eye(3, 64))


def test_named_expressions_are_in_their_range_and_mostly_symmetrical():
    weights = sample_named_expressions(NAMED, 2000, make_generator(1))[:, :3] / 10
    assert 0 <= float(weights.min()) <= float(weights.max()) <= 1
    jaw, left, right = (weights > 0).float().mean(dim=0).tolist()
    assert jaw == pytest.approx(0.5, abs=0.04)
    assert left == pytest.approx(0.35, abs=0.04)
    assert right == pytest.approx(0.35, abs=0.04)
    both = weights[:, 1] > 0
    assert float((weights[both, 1] == weights[both, 2]).float().mean()) > 0.75


def test_without_a_share_named_expressions_change_nothing():
    plain = sample_theta(SamplingDistributions(), 5, make_generator(2))
    torch.testing.assert_close(
        sample_theta(SamplingDistributions(), 5, make_generator(2), NAMED), plain, rtol=0, atol=0
    )
    shaped = split_theta(sample_theta(SamplingDistributions(named_share=1.0), 5, make_generator(2), NAMED))
    assert torch.equal(shaped.identity, split_theta(plain).identity)
    assert not torch.equal(shaped.expression, split_theta(plain).expression)


@pytest.mark.parametrize(
    ("name", "parts"),
    [("jawOpen", ("jawOpen", "")), ("eyeBlink_R", ("eyeBlink", "right")), ("mouthSmileLeft", ("mouthSmile", "left"))],
)
def test_a_shapes_name_tells_its_side(name, parts):
    assert split_side(name) == parts
