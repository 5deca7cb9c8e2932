"""The MobileFaceNet of insightface: published names and sizes, what its state dict tells, and what is refused."""

import pytest
import torch

from focus_ray.errors import CheckpointError
from focus_ray.focus.networks.insightface_mbf import InsightMobileFaceNet, build_insightface_mbf


@pytest.mark.parametrize(
    ("blocks", "parameters"),
    [((1, 4, 6, 2), 2_059_520), ((2, 8, 12, 4), 3_349_888)],  # mbf, w600k_mbf
)
def test_the_state_dict_tells_blocks_and_width(blocks, parameters):
    with torch.device("meta"):
        named = InsightMobileFaceNet(blocks, 2).state_dict()
        network = build_insightface_mbf(named)
    assert (network.blocks, network.scale) == (blocks, 2)
    assert sum(value.numel() for value in network.parameters()) == parameters
    for name, shape in {
        "layers.0.layers.0.weight": (128, 3, 3, 3),
        "layers.2.layers.1.layers.0.weight": (128, 1, 3, 3),
        "layers.3.layers.0.layers.2.layers.1.running_mean": (128,),
        "layers.6.layers.0.layers.2.weight": (512,),
        "conv_sep.layers.0.weight": (512, 256, 1, 1),
        "features.layers.0.layers.0.weight": (512, 1, 7, 7),
        "features.layers.2.weight": (512, 512),
        "features.layers.3.running_var": (512,),
    }.items():
        assert tuple(named[name].shape) == shape


@pytest.mark.parametrize("stem", [(64 * 9, 3, 3, 3), (3,), (32, 3, 3, 3)])
def test_other_widths_are_refused_before_a_network_is_built(stem):
    state = {"layers.0.layers.0.weight": torch.zeros(stem)}
    with pytest.raises(CheckpointError, match=r"insightface's MobileFaceNet.*a stem of shape"):
        build_insightface_mbf(state)


def test_maps_and_embeddings_have_the_documented_shapes():
    network = InsightMobileFaceNet((1, 1, 1, 1), 1).eval()
    with torch.no_grad():
        assert network.shallow(torch.rand(1, 3, 112, 112)).shape == (1, 64, 56, 56)
        assert network(torch.rand(1, 3, 112, 112)).shape == (1, 512)
