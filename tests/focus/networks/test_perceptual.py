"""The frozen networks of the perceptual losses: lengths, where gradients go, and that nothing makes them learn."""

import pytest
import torch

from focus_ray.focus.networks.alignment import ARCFACE_TEMPLATE
from focus_ray.focus.networks.encoder import ResNet50Encoder, SmallEncoder
from focus_ray.focus.networks.iresnet import IResNet
from focus_ray.focus.networks.perceptual import ArcFacePerceptual, EncoderPerceptual, PerceptualNetwork

SIZE = 64


def landmarks(count: int) -> torch.Tensor:
    """68 points with the five that align on the template, at the scale of the picture."""
    points = torch.rand(count, 68, 2) * SIZE
    right, left, nose, mouth_right, mouth_left = torch.tensor(ARCFACE_TEMPLATE) * SIZE / 112
    points[:, [36, 39]], points[:, [42, 45]] = right, left
    points[:, 30], points[:, 48], points[:, 54] = nose, mouth_right, mouth_left
    return points


@pytest.fixture(scope="module", params=["arcface", "warmup_encoder"])
def network(request) -> PerceptualNetwork:
    torch.manual_seed(0)
    return ArcFacePerceptual(IResNet()) if request.param == "arcface" else EncoderPerceptual(SmallEncoder())


def test_it_is_what_the_losses_ask_for(network):
    images = torch.rand(3, 3, SIZE, SIZE)
    assert isinstance(network, PerceptualNetwork)
    embedding = network.embedding(images, landmarks(3))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    shallow = network.shallow(images, landmarks(3))
    assert shallow.shape[0] == 3
    assert shallow.dim() == 4


@pytest.mark.parametrize("method", ["embedding", "shallow"])
def test_gradients_reach_the_images_and_no_weight(network, method):
    images = torch.rand(2, 3, SIZE, SIZE, requires_grad=True)
    points = landmarks(2).requires_grad_()
    output = getattr(network, method)(images, points)
    (output * torch.rand_like(output)).sum().backward()
    assert torch.isfinite(images.grad).all()
    assert images.grad.any()
    assert points.grad is None
    assert all(parameter.grad is None for parameter in network.parameters())


def test_nothing_makes_it_learn(network):
    images, points = torch.rand(2, 3, SIZE, SIZE), landmarks(2)
    before = network.embedding(images, points)
    network.train().requires_grad_(True)
    torch.nn.ModuleList([network]).train()
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(network.embedding(images, points), before)


def test_degenerate_landmarks_stay_finite(network):
    images = torch.rand(2, 3, SIZE, SIZE, requires_grad=True)
    points = torch.zeros(2, 68, 2)
    points[1] = float("nan")
    network.embedding(images, points).sum().backward()
    assert torch.isfinite(images.grad).all()


def test_the_recogniser_does_not_see_where_the_face_is():
    torch.manual_seed(0)
    network = ArcFacePerceptual(IResNet())
    images, points = torch.zeros(1, 3, 96, 96), landmarks(1)
    images[..., 8:56, 8:56] = torch.rand(1, 3, 48, 48)
    torch.testing.assert_close(
        network.shallow(images.roll((10, 20), (2, 3)), points + torch.tensor([20.0, 10.0])),
        network.shallow(images, points),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("make", [SmallEncoder, ResNet50Encoder])
def test_the_encoder_copy_is_independent_and_has_no_head(make):
    encoder = make().train()
    copy = EncoderPerceptual(encoder)
    assert encoder.training
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert not any("head" in name for name in copy.state_dict())
    images = torch.rand(2, 3, SIZE, SIZE)
    before = copy.embedding(images, landmarks(2))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    assert torch.equal(copy.embedding(images, landmarks(2)), before)
    assert torch.equal(copy.embedding(images, torch.zeros(2, 68, 2)), before)


def test_a_copy_is_read_back_from_its_state_dict():
    first, second = EncoderPerceptual(SmallEncoder()), EncoderPerceptual(SmallEncoder())
    second.load_state_dict(first.state_dict())
    images = torch.rand(2, 3, SIZE, SIZE)
    assert torch.equal(first.embedding(images, landmarks(2)), second.embedding(images, landmarks(2)))
