"""The encoders: what a zero head says, sizes they take, gradients, and that evaluation does not depend on the batch."""

import pytest
import torch

from focus_ray.errors import ConfigError
from focus_ray.focus.networks.encoder import ResNet18Encoder, ResNet50Encoder, SmallEncoder
from focus_ray.focus.parameters import ParameterScales

SCALES = ParameterScales(translation_xy=10, light_offset=tuple(float(i) for i in range(27)))


@pytest.mark.parametrize("make", [SmallEncoder, ResNet18Encoder, ResNet50Encoder])
@pytest.mark.parametrize("training", [True, False])
def test_a_fresh_encoder_says_exactly_the_offset(make, training):
    encoder = make(scales=SCALES).train(training)
    offset, _ = SCALES.vectors()
    theta = encoder(torch.rand(2, 3, 64, 64))
    assert torch.equal(theta, offset.expand(2, -1))
    assert torch.equal(theta[0, 224:251], torch.arange(27.0))


def test_the_head_scales_its_output():
    encoder = SmallEncoder(scales=SCALES)
    with torch.no_grad():
        encoder.head.bias.fill_(1)
    offset, scale = SCALES.vectors()
    torch.testing.assert_close(encoder(torch.rand(2, 3, 64, 64)), (offset + scale).expand(2, -1))
    assert scale[254] == 10


def test_sizes_of_the_networks():
    assert sum(p.numel() for p in SmallEncoder().parameters()) == 682_641
    with torch.device("meta"):
        assert sum(p.numel() for p in ResNet50Encoder().parameters()) == 23_508_032 + 2049 * 257


@pytest.mark.parametrize(("width", "side_by_side"), [(4, False), (12, False), (16, True)])
def test_thin_encoders_train_in_the_usual_layout(width, side_by_side):
    """oneDNN's backward of a strided 1 x 1 convolution damages the heap with fewer than 8 channels side by side."""
    encoder = SmallEncoder(width=width)
    seen = encoder.shallow(torch.rand(2, 3, 64, 64))
    assert seen.is_contiguous(memory_format=torch.channels_last) == side_by_side
    for _ in range(20):
        encoder(torch.rand(2, 3, 64, 64)).sum().backward()


@pytest.mark.parametrize("size", [48, 64, 80, 96, 128])
def test_the_small_encoder_takes_multiples_of_16(size):
    encoder = SmallEncoder(size).eval()
    images = torch.rand(2, 3, size, size)
    assert encoder.features(images).shape == (2, 256)
    assert encoder.shallow(images).shape == (2, 16, size // 2, size // 2)
    assert encoder(images).shape == (2, 257)


@pytest.mark.parametrize("size", [0, 16, 50, 100])
def test_other_sizes_are_refused(size):
    with pytest.raises(ConfigError, match="multiple of 16"):
        SmallEncoder(size)


def test_every_parameter_learns_once_the_head_is_not_zero():
    encoder = SmallEncoder()
    torch.nn.init.normal_(encoder.head.weight)
    encoder(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any() for p in encoder.parameters())


def test_evaluation_does_not_depend_on_the_rest_of_the_batch_nor_change_the_network():
    encoder = SmallEncoder()
    torch.nn.init.normal_(encoder.head.weight)
    images = torch.rand(5, 3, 64, 64)
    encoder(images)  # running statistics that are not the initial ones
    encoder.eval()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with torch.no_grad():
        together = encoder(images)
        torch.testing.assert_close(encoder(images[2:3]), together[2:3])
        assert torch.equal(encoder(images), together)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_the_state_dict_holds_contiguous_learned_tensors_only():
    encoder = SmallEncoder(scales=SCALES)
    encoder(torch.rand(2, 3, 64, 64)).sum().backward()
    state = encoder.state_dict()
    assert all(value.is_contiguous() for value in state.values())
    assert "head.offset" not in state
    other = SmallEncoder(scales=SCALES).eval()
    other.load_state_dict(state)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(other(images), encoder.eval()(images))
