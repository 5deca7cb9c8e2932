"""The UNet: the published size, input order, range, sizes it takes, and the same answer in training and evaluation."""

import pytest
import torch

from focus_ray.errors import ConfigError
from focus_ray.focus.networks.segmenter import UNet


def small(**options) -> UNet:
    return UNet(width=8, levels=4, dropout=0.0, **options)


def test_the_default_is_the_published_network():
    with torch.device("meta"):
        network = UNet()
    assert sum(p.numel() for p in network.parameters()) == 34_528_769
    dropouts = [module for module in network.modules() if isinstance(module, torch.nn.Dropout)]
    assert [module.p for module in dropouts] == [0.5, 0.5]
    assert [isinstance(level[-1], torch.nn.Dropout) for level in network.down] == [False, False, False, True, True]


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_masks_are_soft_and_finite(norm):
    mask = small(norm=norm).mask(torch.rand(2, 3, 32, 40), torch.rand(2, 3, 32, 40))
    assert mask.shape == (2, 1, 32, 40)
    assert 0 < mask.min() < mask.max() < 1


def test_the_slope_multiplies_the_logit():
    gentle, steep = small(slope=1.0).eval(), small(slope=5.0).eval()
    steep.load_state_dict(gentle.state_dict())
    images = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(steep(*images), 5 * gentle(*images))
    torch.testing.assert_close(steep.mask(*images), torch.sigmoid(5 * gentle(*images)))
    torch.testing.assert_close(steep.logits_to_mask(steep(*images)), steep.mask(*images))


def test_the_rendering_comes_first():
    network = small().eval()
    with torch.no_grad():
        network.down[0][0].weight[:, 3:] = 0  # blind to the second picture
    rendered, target = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    assert torch.equal(network.mask(rendered, target), network.mask(rendered, torch.zeros_like(target)))
    assert not torch.equal(network.mask(rendered, target), network.mask(torch.zeros_like(rendered), target))


def test_a_pixel_sees_its_surroundings_and_the_mask_stays_in_place():
    network = small(norm="batch").eval()
    rendered, target = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    shifted = network.mask(rendered.roll(8, 3), target.roll(8, 3))
    whole = network.mask(rendered, target)
    torch.testing.assert_close(shifted[..., 40:48], whole[..., 32:40], rtol=0.05, atol=0.01)


@pytest.mark.parametrize("size", [(60, 64), (64, 20), (4, 4)])
def test_sizes_that_cannot_be_halved_are_refused(size):
    images = torch.rand(1, 3, *size)
    with pytest.raises(ConfigError, match="divisible by 8"):
        small()(images, images)


def test_group_norm_answers_alike_in_training_and_evaluation():
    network = small(norm="group")
    images = torch.rand(3, 3, 32, 32), torch.rand(3, 3, 32, 32)
    training = network.train().mask(*images)
    assert torch.equal(network.eval().mask(*images), training)
    torch.testing.assert_close(network.mask(images[0][1:2], images[1][1:2]), training[1:2])


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("width", [5, 12, 28])
def test_any_width_is_possible_and_every_weight_learns(width, norm):
    network = UNet(width=width, levels=2, dropout=0.0, norm=norm)
    network.mask(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)).sum().backward()
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in weights)
    assert all(value.is_contiguous() for value in network.state_dict().values())
