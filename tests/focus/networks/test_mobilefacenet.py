"""MobileFaceNet with 128 outputs: the names of its file, its range of colours, and what is refused."""

import pytest
import torch

from focus_ray.errors import CheckpointError
from focus_ray.focus.networks.alignment import ARCFACE_TEMPLATE
from focus_ray.focus.networks.mobilefacenet import IMAGENET_DEVIATION, IMAGENET_MEAN, MobileFaceNet, load_mobilefacenet


@pytest.fixture(scope="module")
def network() -> MobileFaceNet:
    torch.manual_seed(0)
    return MobileFaceNet().eval()


def test_the_published_names_and_size(network):
    state = network.state_dict()
    assert sum(value.numel() for name, value in state.items() if "tracked" not in name) == 1_019_648
    for name, shape in {
        "conv1.0.weight": (64, 3, 3, 3),
        "dw_conv.bn2.running_var": (64,),
        "features.0.conv.0.0.weight": (128, 64, 1, 1),
        "features.14.conv.3.bias": (128,),
        "gdconv.depthwise.weight": (512, 1, 7, 7),
        "conv3.bias": (128,),
        "bn.running_mean": (128,),
    }.items():
        assert tuple(state[name].shape) == shape


def test_crops_have_imagenets_mean_and_deviation(network):
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    images = (mean + 2 * deviation).expand(1, 3, 112, 112)
    crops = network.crops(images, torch.tensor([ARCFACE_TEMPLATE]))
    torch.testing.assert_close(crops[..., 1:-1, 1:-1], torch.full((1, 3, 110, 110), 2.0))
    with torch.no_grad():
        assert network.shallow(crops).shape == (1, 64, 56, 56)
        assert network(crops).shape == (1, 128)


def test_another_network_is_refused(network):
    state = {name: value for name, value in network.state_dict().items() if name != "conv3.bias"}
    with pytest.raises(CheckpointError, match=r"MobileFaceNet with 128 outputs: the file lacks conv3\.bias"):
        load_mobilefacenet(state)
