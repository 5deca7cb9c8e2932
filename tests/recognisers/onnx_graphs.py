"""Graphs of recognisers as exporters write them: batch norms folded into the convolutions before them, or not."""

import numpy as np
import torch
from torch import nn

from focus_ray.focus.networks.insightface_mbf import InsightMobileFaceNet
from focus_ray.focus.networks.iresnet import IResNet
from tests.storage import onnx_writer as write


def randomise(network: nn.Module) -> nn.Module:
    """Statistics, slopes and gains that are not the initial ones."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
    return network.eval()


class Exporter:
    """Collects nodes and arrays; each method returns the name of its result."""

    def __init__(self, folded: bool):
        self.folded = folded
        self.nodes: list[bytes] = []
        self.arrays: dict[str, np.ndarray] = {}

    def put(self, op: str, inputs: list[str], arrays: list[torch.Tensor], **attributes) -> str:
        names = [f"w{len(self.arrays) + i}" for i in range(len(arrays))]
        self.arrays |= {name: array.detach().numpy() for name, array in zip(names, arrays, strict=True)}
        out = f"v{len(self.nodes)}"
        self.nodes.append(write.node(op, [*inputs, *names], out, **attributes))
        return out

    def norm(self, value: str, norm: nn.Module) -> str:
        tensors = [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return self.put("BatchNormalization", [value], tensors, epsilon=norm.eps)

    def convolution(self, value: str, conv: nn.Conv2d, norm: nn.Module) -> str:
        attributes = {"strides": conv.stride, "pads": conv.padding * 2, "group": conv.groups}
        if not self.folded:
            return self.norm(self.put("Conv", [value], [conv.weight], **attributes), norm)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        folded = [conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale]
        return self.put("Conv", [value], folded, **attributes)

    def prelu(self, value: str, module: nn.PReLU) -> str:
        return self.put("PRelu", [value], [module.weight[:, None, None]])

    def linear(self, value: str, linear: nn.Linear, norm: nn.Module) -> str:
        flat = self.put("Flatten", [value], [], axis=1)
        tensors = [linear.weight] if linear.bias is None else [linear.weight, linear.bias]
        return self.norm(self.put("Gemm", [flat], tensors, transB=1, alpha=1.0, beta=1.0), norm)

    def block(self, value: str, module: nn.Module) -> str:
        """A block of insightface's MobileFaceNet."""
        parts = list(module.layers)
        if isinstance(parts[0], nn.Conv2d):
            out = self.convolution(value, parts[0], parts[1])
            return self.prelu(out, parts[2]) if len(parts) > 2 else out
        out = value
        for part in parts:
            out = self.block(out, part)
        return self.put("Add", [value, out], []) if module.has_shortcut else out

    def file(self, result: str) -> bytes:
        return write.model(self.nodes, self.arrays, result=result)


def export_iresnet(network: IResNet, *, folded: bool) -> bytes:
    to = Exporter(folded)
    value = to.prelu(to.convolution("data", network.conv1, network.bn1), network.prelu)
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:
            x = to.convolution(to.norm(value, block.bn1), block.conv1, block.bn2)
            x = to.convolution(to.prelu(x, block.prelu), block.conv2, block.bn3)
            short = value if block.downsample is None else to.convolution(value, *block.downsample)
            value = to.put("Add", [x, short], [])
    return to.file(to.linear(to.norm(value, network.bn2), network.fc, network.features))


def export_mbf(network: InsightMobileFaceNet, *, folded: bool) -> bytes:
    to = Exporter(folded)
    value = "data"
    pool, _, linear, norm = network.features.layers
    for layer in (*network.layers, network.conv_sep, pool):
        value = to.block(value, layer)
    return to.file(to.linear(value, linear, norm))
