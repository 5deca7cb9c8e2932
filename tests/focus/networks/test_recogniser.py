"""Recognisers by kind: every network is what the perceptual losses ask for, and comes back from its state dict."""

import pytest
import torch

from focus_ray.focus.networks.face_mesh_network import FaceMeshNetwork
from focus_ray.focus.networks.insightface_mbf import InsightMobileFaceNet
from focus_ray.focus.networks.mobilefacenet import MobileFaceNet
from focus_ray.focus.networks.perceptual import ArcFacePerceptual, PerceptualNetwork, rebuild_recogniser


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("insightface_mbf", InsightMobileFaceNet((1, 1, 1, 1), 1)),
        ("mobilefacenet", MobileFaceNet()),
        ("face_mesh", FaceMeshNetwork()),
    ],
)
def test_each_kind_aligns_embeds_and_comes_back(kind, network):
    torch.manual_seed(0)
    perceptual = ArcFacePerceptual(network)
    assert isinstance(perceptual, PerceptualNetwork)
    images, landmarks = torch.rand(2, 3, 64, 64, requires_grad=True), 64 * torch.rand(2, 68, 2)
    embedding, shallow = perceptual.embedding(images, landmarks), perceptual.shallow(images, landmarks)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    (embedding.sum() + shallow.sum()).backward()
    assert images.grad is not None
    assert images.grad.any()
    again = rebuild_recogniser(kind, perceptual.state_dict())
    assert again.network.architecture == network.architecture
    assert torch.equal(again.embedding(images, landmarks), embedding)
