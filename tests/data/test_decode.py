"""Tests of focus_ray.data.decode."""

import torch

from focus_ray.data.decode import decode_basis
from tests.ellipsoid_face import ellipsoid_face


def test_decode_is_the_models_own_linear_form():
    model = ellipsoid_face(33, 17, 5)  # 50 modes: not a multiple of the kernel's four
    alpha = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(decode_basis(alpha, model.mean, model.shape_basis), model.vertices(alpha))


def test_an_image_has_the_same_bits_in_every_batch():
    model = ellipsoid_face()
    alpha = torch.randn(7, 144, generator=torch.Generator().manual_seed(1))
    together = decode_basis(alpha, model.mean, model.shape_basis)
    apart = torch.cat([decode_basis(row[None], model.mean, model.shape_basis) for row in alpha])
    assert torch.equal(together, apart)
