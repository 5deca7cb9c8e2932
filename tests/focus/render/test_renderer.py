"""The whole renderer: what comes out, and that its gradient is the one of finite differences."""

import copy

import pytest
import torch

from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import N_PARAMETERS, ParameterScales, split_theta
from focus_ray.focus.render import Renderer

DOUBLE = torch.float64
SIZE = 48


def coefficients(batch, dtype=torch.float32):
    """Plausible theta: half a sigma of everything, a little light and pose."""
    offset, scale = ParameterScales().vectors()
    theta = scale * torch.randn(batch, N_PARAMETERS) / 2
    split_theta(theta).light.mul_(0.5)
    split_theta(theta).translation[:, :2].mul_(10)
    return (offset + theta).to(dtype)


@pytest.fixture
def render(ellipsoid_face, backend):
    return Renderer(ellipsoid_face, Camera(image_size=SIZE), backend)


@pytest.fixture
def render_double(ellipsoid_face, backend):
    return Renderer(copy.deepcopy(ellipsoid_face).double(), Camera(image_size=SIZE), backend)


def test_shapes_and_background(render, ellipsoid_face):
    rendering = render(coefficients(3))
    assert rendering.image.shape == (3, 3, SIZE, SIZE)
    assert rendering.mask.shape == rendering.depth.shape == (3, 1, SIZE, SIZE)
    assert rendering.landmarks.shape == (3, 68, 2)
    assert rendering.vertices.shape == rendering.vertices_screen.shape == (3, ellipsoid_face.n_vertices, 3)
    outside = rendering.mask == 0
    assert rendering.image[outside.expand_as(rendering.image)].eq(0).all()
    assert rendering.depth[outside].eq(0).all()
    assert torch.equal(rendering.mask[:, 0] == 1, rendering.triangle_ids >= 0)
    assert 0.2 < rendering.mask.mean() < 0.8


def test_rows_are_some_of_the_images_in_every_field(ellipsoid_face):
    rendering = Renderer(ellipsoid_face, Camera(image_size=SIZE))(coefficients(4))
    some = rendering.rows(slice(1, 3))
    assert {len(value) for value in vars(some).values()} == {2}
    assert all(torch.equal(value, vars(rendering)[name][1:3]) for name, value in vars(some).items())


def test_a_loss_of_rows_reaches_their_images_only(ellipsoid_face):
    theta = coefficients(3).requires_grad_()
    Renderer(ellipsoid_face, Camera(image_size=SIZE))(theta).rows(slice(1, 2)).image.square().sum().backward()
    assert [bool(row.any()) for row in theta.grad] == [False, True, False]


def test_the_mean_face_under_ambient_light(render, ellipsoid_face):
    offset, _ = ParameterScales().vectors()
    rendering = render(offset[None])
    landmarks = rendering.landmarks[0]
    # the nose tip lies in front of the centre: x = 0, y = -4.6 mm
    assert landmarks[30, 0].item() == pytest.approx((SIZE - 1) / 2, abs=0.05)
    assert landmarks[30, 1].item() == pytest.approx((SIZE - 1) / 2 + 4.6 * SIZE / 220, abs=0.3)
    assert landmarks[36, 0] < landmarks[45, 0]  # the subject's right eye is on the image's left
    assert landmarks[8, 1] > landmarks[30, 1] > landmarks[27, 1]
    colour = rendering.image[0, :, SIZE // 2, SIZE // 2]
    nearest = ellipsoid_face.mean[:, :2].norm(dim=1).argsort()[:6]
    assert colour.tolist() == pytest.approx((1.240718 * ellipsoid_face.mean_albedo[nearest].mean(0)).tolist(), rel=0.2)
    drawn = rendering.mask > 0
    assert rendering.depth[drawn].min() > 1000 - ellipsoid_face.mean[:, 2].max() - 1e-2
    assert rendering.depth[drawn].max() < 1000 - ellipsoid_face.mean[:, 2].min() + 1e-2


def test_depth_is_the_distance_of_the_surface(render):
    rendering = render(coefficients(1))
    seen = rendering.triangle_ids[0] >= 0
    corners = rendering.vertices_screen[0, render.model.faces[rendering.triangle_ids[0][seen]]][..., 2]
    depth = rendering.depth[0, 0][seen]
    assert (depth >= corners.amin(1) - 1e-2).all()
    assert (depth <= corners.amax(1) + 1e-2).all()


def test_turning_the_face_moves_it_as_it_should(render):
    offset, _ = ParameterScales().vectors()
    theta = offset.repeat(3, 1)
    split_theta(theta).rotation[1, 1] = 0.3  # nose to image right
    split_theta(theta).translation[2] = torch.tensor([20.0, 0.0, 0.0])
    nose = render(theta).landmarks[:, 30]
    assert nose[1, 0] > nose[0, 0] + 2
    assert nose[2, 0] - nose[0, 0] == pytest.approx(20 * SIZE / 220, rel=0.1)


def test_nothing_is_seen_from_behind(render):
    offset, _ = ParameterScales().vectors()
    theta = offset.repeat(1, 1)
    split_theta(theta).rotation[0, 1] = torch.pi
    assert render(theta).mask.sum() == 0
    assert Renderer(render.model, render.camera, render.backend, cull_back=False)(theta).mask.mean() > 0.2


def test_render_takes_any_shape_and_albedo(render):
    theta = coefficients(2)
    parts = split_theta(theta)
    whole = render(theta)
    pieces = render.render(
        render.model.vertices(parts.alpha),
        render.model.albedo(parts.albedo),
        parts.light,
        parts.rotation,
        parts.translation,
    )
    assert torch.equal(whole.image, pieces.image)
    assert torch.equal(whole.landmarks, pieces.landmarks)


def test_mask_is_detached_and_the_rest_is_not(render):
    rendering = render(coefficients(1).requires_grad_())
    assert not rendering.mask.requires_grad
    assert rendering.image.requires_grad
    assert rendering.landmarks.requires_grad
    assert rendering.depth.requires_grad


def test_numba_and_torch_render_the_same(ellipsoid_face):
    theta = coefficients(4)
    compiled, plain = (
        Renderer(ellipsoid_face, Camera(image_size=96), backend)(theta) for backend in ("numba", "torch")
    )
    assert torch.equal(compiled.triangle_ids, plain.triangle_ids)
    torch.testing.assert_close(compiled.image, plain.image, rtol=0, atol=1e-5)
    torch.testing.assert_close(compiled.depth, plain.depth, rtol=0, atol=1e-3)


def test_half_precision_around_the_renderer_does_not_reach_into_it(render):
    theta = coefficients(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = render(theta)
    assert inside.image.dtype == torch.float32
    assert torch.equal(inside.image, render(theta).image)


def directional(renderer, theta, direction, weights, step):
    """Central difference of sum(weights * (image, landmarks)) over the pixels whose triangle does not change, and the
    weights that select them."""
    ahead, behind = renderer(theta + step * direction), renderer(theta - step * direction)
    here = renderer(theta)
    smooth = (ahead.triangle_ids == here.triangle_ids) & (behind.triangle_ids == here.triangle_ids)
    assert smooth.float().mean() > 0.95
    selected = weights * smooth[:, None]
    difference = ((ahead.image - behind.image) * selected).sum() + (ahead.landmarks - behind.landmarks).sum()
    return difference / (2 * step), selected


@pytest.mark.parametrize("group", ["identity", "expression", "albedo", "light", "rotation", "translation"])
def test_the_whole_gradient_equals_finite_differences(render, render_double, group):
    theta = coefficients(2, DOUBLE)
    direction = torch.zeros_like(theta)
    part = getattr(split_theta(direction), group)
    part.copy_(torch.randn_like(part) / part.shape[1] ** 0.5)
    weights = torch.randn(2, 3, SIZE, SIZE, dtype=DOUBLE)
    expected, selected = directional(render_double, theta, direction, weights, 1e-5)
    for renderer, dtype, bound in ((render_double, DOUBLE, 1e-5), (render, torch.float32, 1e-3)):
        leaf = theta.to(dtype, copy=True).requires_grad_()
        rendering = renderer(leaf)
        ((rendering.image * selected.to(dtype)).sum() + rendering.landmarks.sum()).backward()
        assert leaf.grad is not None
        found = (leaf.grad.double() * direction).sum().item()
        assert found == pytest.approx(expected.item(), rel=bound)
