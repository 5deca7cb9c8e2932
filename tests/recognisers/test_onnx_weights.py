"""Graphs of recognisers against their state dicts: folded or not, the same network; other graphs are refused."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from focus_ray.errors import CheckpointError
from focus_ray.focus.networks.insightface_mbf import InsightMobileFaceNet, load_insightface_mbf
from focus_ray.focus.networks.iresnet import IResNet, load_arcface
from focus_ray.recognisers.onnx_weights import insightface_mbf_state, iresnet_state
from focus_ray.storage.onnx_file import parse_onnx
from tests.recognisers.onnx_graphs import Exporter, export_iresnet, export_mbf, randomise
from tests.storage import onnx_writer as write


def same_network(published: nn.Module, loaded: nn.Module, tolerance: float = 1e-4) -> None:
    """Embeddings within 1e-5, gradients of the picture within a share of their norm.

    In double: a folded convolution rounds otherwise, and an activation at the kink of a PReLU may fall on the other
    side, which changes the gradient of the pixels that it sees.
    """
    torch.manual_seed(2)
    crops, direction = 2 * torch.rand(1, 3, 112, 112).double() - 1, torch.randn(1, 512).double()
    found = []
    for network in (published, loaded):
        seen = crops.clone().requires_grad_()
        embedding = functional.normalize(copy.deepcopy(network).double()(seen))
        (embedding * direction).sum().backward()
        found.append((embedding.detach(), seen.grad))
    (embedding, gradient), (other, other_gradient) = found
    torch.testing.assert_close(embedding, other, rtol=0, atol=1e-5)
    assert (gradient - other_gradient).norm() < tolerance * gradient.norm()


def without_kinks(network: nn.Module) -> nn.Module:
    """The network with the slope 1 in every PReLU."""
    for module in network.modules():
        if isinstance(module, nn.PReLU):
            nn.init.ones_(module.weight)
    return network


@pytest.fixture(scope="module")
def iresnet() -> IResNet:
    torch.manual_seed(0)
    return randomise(IResNet(18)).requires_grad_(False)


@pytest.fixture(scope="module")
def mbf() -> InsightMobileFaceNet:
    torch.manual_seed(0)
    return randomise(InsightMobileFaceNet((2, 1, 2, 1), 1)).requires_grad_(False)


def test_a_folded_graph_of_arcface_is_the_network_of_its_state_dict(iresnet):
    loaded = load_arcface(iresnet_state(parse_onnx(export_iresnet(iresnet, folded=True))))
    assert loaded.depth == 18
    same_network(load_arcface(iresnet.state_dict()), loaded)


def test_a_graph_with_its_norms_gives_the_state_dict_itself(iresnet):
    state, expected = iresnet_state(parse_onnx(export_iresnet(iresnet, folded=False))), iresnet.state_dict()
    assert state.keys() == {name for name in expected if not name.endswith("num_batches_tracked")}
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-9)


@pytest.mark.drill
@pytest.mark.parametrize("depth", [50, 100])
def test_a_graph_of_a_deep_arcface_is_the_network_of_its_state_dict(depth):
    """With 100 layers even the rounding of the folded weights moves an activation over a kink."""
    network = randomise(IResNet(depth)).requires_grad_(False)
    loaded = load_arcface(iresnet_state(parse_onnx(export_iresnet(network, folded=True))))
    same_network(network, loaded, 1e-4 if depth == 50 else 0.05)
    same_network(without_kinks(network), without_kinks(loaded))


@pytest.mark.parametrize("folded", [True, False])
def test_a_graph_of_the_mobilefacenet_is_the_network_of_its_state_dict(mbf, folded):
    loaded = load_insightface_mbf(insightface_mbf_state(parse_onnx(export_mbf(mbf, folded=folded))))
    assert loaded.architecture == "insightface_mbf-2-1-2-1x1"
    same_network(load_insightface_mbf(mbf.state_dict()), loaded)


def test_the_depthwise_first_stage_is_told_from_residual_blocks():
    network = randomise(InsightMobileFaceNet((1, 1, 1, 1), 1)).requires_grad_(False)
    loaded = load_insightface_mbf(insightface_mbf_state(parse_onnx(export_mbf(network, folded=True))))
    assert loaded.blocks == (1, 1, 1, 1)
    same_network(network, loaded)


def test_the_other_network_is_refused_by_its_convolutions(iresnet, mbf):
    with pytest.raises(CheckpointError, match=r"no IResNet: its graph has \d+ convolutions, expected are 21 \(r18\)"):
        iresnet_state(parse_onnx(export_mbf(mbf, folded=True)))
    with pytest.raises(CheckpointError, match="no MobileFaceNet of insightface: its graph has 21 convolutions"):
        insightface_mbf_state(parse_onnx(export_iresnet(iresnet, folded=True)))


class Changed(Exporter):
    """Writes one convolution otherwise."""

    def __init__(self, change: dict, number: int = 2):
        super().__init__(folded=True)
        self.change, self.number, self.seen = change, number, 0

    def put(self, op, inputs, arrays, **attributes):
        self.seen += op == "Conv"
        if op == "Conv" and self.seen == self.number:
            attributes |= {key: value for key, value in self.change.items() if key != "weight"}
            arrays = [self.change.get("weight", arrays[0]), *arrays[1:]]
        return super().put(op, inputs, arrays, **attributes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pads": (0, 0, 0, 0)}, "pads"),
        ({"dilations": (2, 2)}, "dilations"),
        ({"group": 64}, "64 groups"),
        ({"weight": torch.zeros(64, 32, 3, 3)}, r"shape \(64, 32, 3, 3\)"),
        ({"weight": torch.zeros(64, 64, 3, 3, dtype=torch.float16)}, "float16"),
    ],
)
def test_other_convolutions_are_refused(iresnet, monkeypatch, change, reason):
    monkeypatch.setattr("tests.recognisers.onnx_graphs.Exporter", lambda folded: Changed(change))
    with pytest.raises(CheckpointError, match=f"iresnet18.*{reason}"):
        iresnet_state(parse_onnx(export_iresnet(iresnet, folded=True)))


def test_other_operations_are_refused():
    nodes = [write.node("Sub", ["data", "m"], "a"), write.node("Conv", ["a", "w"], "out")]
    graph = parse_onnx(write.model(nodes, {"m": np.float32([127.5]), "w": np.zeros((1, 3, 1, 1), np.float32)}))
    for state in (iresnet_state, insightface_mbf_state):
        with pytest.raises(CheckpointError, match="its graph has Sub; expected are only Conv"):
            state(graph)
