"""Under autocast the geometry and the losses compute in float32: only networks may take half the bits."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus import losses
from focus_ray.focus.camera import Camera, project, projection_matrix, rotate, to_camera
from focus_ray.focus.networks.encoder import SmallEncoder
from focus_ray.focus.networks.perceptual import EncoderPerceptual
from focus_ray.focus.render.normals import vertex_normals
from focus_ray.focus.render.renderer import Renderer
from focus_ray.focus.render.shading import shade, spherical_harmonics

CAMERA = Camera(image_size=32)


def drawn(*shape: int) -> Tensor:
    """Random numbers in [0, 1], the same for the same shape."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape)))


TARGET, RENDERED = drawn(4, 3, 16, 16), drawn(4, 3, 16, 16).flip(0)
REGION = (drawn(4, 1, 16, 16) > 0.2).float()
MASK = REGION * drawn(4, 1, 16, 16).flip(2)
POINTS = 100 * drawn(4, 50, 3)
ROTATION, TRANSLATION = 0.3 * drawn(4, 3), 10 * drawn(4, 3)
FEATURES, OTHERS = drawn(4, 64) - 0.5, drawn(4, 64).flip(0) - 0.5
MAPS, OTHER_MAPS = drawn(4, 8, 6, 6) - 0.5, drawn(4, 8, 6, 6).flip(0) - 0.5

CASES: dict[str, Callable[[MorphableModel], Tensor]] = {
    "rotate": lambda _: rotate(POINTS, ROTATION),
    "to_camera": lambda _: to_camera(CAMERA, POINTS, ROTATION, TRANSLATION),
    "project": lambda _: project(CAMERA, to_camera(CAMERA, POINTS, ROTATION, TRANSLATION)),
    "projection_matrix": lambda _: projection_matrix(CAMERA, ROTATION, TRANSLATION),
    "vertices": lambda face: face.vertices(drawn(4, 144)),
    "albedo": lambda face: face.albedo(drawn(4, 80)),
    "landmarks": lambda face: face.landmarks(drawn(4, face.n_vertices, 3)),
    "normals": lambda face: vertex_normals(face.mean[None], face.faces),
    "harmonics": lambda _: spherical_harmonics(POINTS / 100),
    "shade": lambda _: shade(POINTS / 100, POINTS / 100, drawn(4, 27)),
    "rendering": lambda face: Renderer(face, CAMERA)(0.1 * drawn(4, 257)).image,
    "rendered landmarks": lambda face: Renderer(face, CAMERA)(0.1 * drawn(4, 257)).landmarks,
    "L_pixel": lambda _: losses.pixel(TARGET, RENDERED, MASK),
    "L_pixel, distance": lambda _: losses.pixel(TARGET, RENDERED, MASK, norm="l21"),
    "L_lm": lambda _: losses.landmark(32 * drawn(4, 68, 2), 32 * drawn(4, 68, 2).flip(0)),
    "L_reg": lambda _: losses.regularizer(drawn(4, 257)),
    "L_per": lambda _: losses.perceptual(FEATURES, OTHERS),
    "L_nbr": lambda _: losses.neighbor(TARGET, RENDERED, MASK),
    "L_dist": lambda _: losses.dist(MAPS, OTHER_MAPS),
    "L_dist, by width": lambda _: losses.dist(MAPS, OTHER_MAPS, width_normalised=True),
    "L_area": lambda _: losses.area(MASK, REGION),
    "L_presv": lambda _: losses.presv(MAPS, OTHER_MAPS),
    "L_bin": lambda _: losses.binary(MASK),
    "M_pre": lambda _: losses.preliminary_mask(TARGET, RENDERED, REGION),
    "likelihood": lambda _: losses.truncated_nll(TARGET, RENDERED, REGION),
    "cross entropy": lambda _: losses.mask_cross_entropy(8 * MASK - 4, REGION, REGION),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_of_float32_is_the_same_under_autocast(name, ellipsoid_face):
    expected = CASES[name](ellipsoid_face)
    with torch.autocast("cpu", torch.bfloat16):
        found = CASES[name](ellipsoid_face)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", [losses.perceptual, losses.dist, partial(losses.dist, width_normalised=True)])
def test_features_in_half_precision_are_compared_in_float32(loss):
    """A network under autocast answers in bfloat16; what it answered is compared without a further rounding."""
    half, other = MAPS.bfloat16(), OTHER_MAPS.bfloat16()
    found = loss(half, other)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(half.float(), other.float()), rtol=1e-6, atol=0)


def test_embeddings_have_length_one_to_float32_under_autocast():
    network = EncoderPerceptual(SmallEncoder(width=4))
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = network.embedding(TARGET, drawn(4, 68, 2))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4), rtol=0, atol=1e-6)
