"""IResNet-50: the published names and size, loading, and what is refused."""

import pytest
import torch

from focus_ray.errors import CheckpointError
from focus_ray.focus.networks.iresnet import IResNet, build_iresnet, load_arcface


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """A state dict of the published form: random weights, statistics that are not the initial ones."""
    torch.manual_seed(1)
    state = IResNet().state_dict()
    return {key: torch.rand_like(v) + 0.5 if key.endswith("running_var") else v for key, v in state.items()}


def test_the_published_names_and_size(state):
    assert len(state) == 475
    assert sum(p.numel() for name, p in state.items() if "running" not in name and "tracked" not in name) == 43_590_848
    for name, shape in {
        "conv1.weight": (64, 3, 3, 3),
        "prelu.weight": (64,),
        "layer1.0.downsample.0.weight": (64, 64, 1, 1),
        "layer3.13.bn3.running_var": (256,),
        "layer4.2.prelu.weight": (512,),
        "layer4.0.downsample.1.num_batches_tracked": (),
        "bn2.bias": (512,),
        "fc.weight": (512, 25088),
        "features.running_mean": (512,),
    }.items():
        assert tuple(state[name].shape) == shape
    assert not any(name.startswith("layer3.14") for name in state)


@pytest.mark.parametrize(("depth", "parameters"), [(18, 24_025_600), (34, 34_139_328), (100, 65_156_160)])
def test_the_state_dict_tells_the_depth(depth, parameters):
    with torch.device("meta"):
        named = IResNet(depth).state_dict()
        network = build_iresnet(named)
    assert network.depth == depth
    assert sum(value.numel() for value in network.parameters()) == parameters


def test_a_published_file_loads_frozen(state):
    network = load_arcface(state)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    with torch.no_grad():
        crops = torch.rand(2, 3, 112, 112)
        assert network(crops).shape == (2, 512)
        assert network.shallow(crops).shape == (2, 64, 56, 56)


def test_another_network_is_refused(state):
    with pytest.raises(CheckpointError, match=r"arcface_torch's IResNet.*3-4-13-3 blocks"):
        load_arcface({name: value for name, value in state.items() if not name.startswith("layer3.13")})
    with pytest.raises(CheckpointError, match=r"IResNet-50: the file lacks layer3\.13\.bn1\.weight"):
        load_arcface({name: value for name, value in state.items() if name != "layer3.13.bn1.weight"})


def test_the_last_normalisation_and_the_shortcuts_take_part(state):
    """With the residual branches silenced, the shallow map is the stem's map, resampled by the shortcut."""
    silent = {key: torch.zeros_like(v) if "bn3" in key and "running" not in key else v for key, v in state.items()}
    network = load_arcface(silent)
    crops = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        stem = network.prelu(network.bn1(network.conv1(crops)))
        torch.testing.assert_close(network.shallow(crops), network.layer1[0].downsample(stem))
