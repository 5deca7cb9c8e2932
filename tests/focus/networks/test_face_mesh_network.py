"""The trunk of the face mesh with random weights: sizes, alignment, gradients. Its weights: tests/recognisers."""

import torch

from focus_ray.focus.networks.face_mesh_network import CROP_SIZE, TEMPLATE, FaceMeshNetwork, load_face_mesh


def test_maps_have_the_documented_shapes_and_gradients_reach_the_pictures():
    torch.manual_seed(0)
    network = load_face_mesh(FaceMeshNetwork().state_dict())
    images = torch.rand(2, 3, CROP_SIZE, CROP_SIZE, requires_grad=True)
    crops = network.crops(images, torch.tensor(TEMPLATE).expand(2, -1, -1))
    torch.testing.assert_close(crops[..., 2:-2, 2:-2], images[..., 2:-2, 2:-2], rtol=0, atol=1e-3)
    assert network.shallow(crops).shape == (2, 16, 96, 96)
    embedding = network(crops)
    assert embedding.shape == (2, 128)
    embedding.sum().backward()
    assert images.grad is not None
    assert images.grad.any()
