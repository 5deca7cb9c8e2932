"""The weights of a recogniser's ONNX graph by the names of arcface_torch.

Exporters fold batch norms into the convolutions before them, so names and tensors of the graph are not those of the
network. The graph is followed from its input to its output beside the layers that are expected; a folded norm becomes
one that adds the convolution's bias and changes nothing else.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from focus_ray.errors import CheckpointError, printable
from focus_ray.focus.networks.insightface_mbf import MAX_BLOCKS, MAX_SCALE, UNIT_WIDTH, InsightMobileFaceNet, Layers
from focus_ray.focus.networks.iresnet import DEPTHS, IResNet, IResNetBlock
from focus_ray.storage.onnx_file import OnnxGraph, OnnxNode

Module = TypeVar("Module", bound=nn.Module)

OPERATIONS = ("Conv", "BatchNormalization", "PRelu", "Add", "Flatten", "Reshape", "Gemm", "MatMul")
"""Operations of the networks that are known."""

_SILENT = ("Identity", "Dropout")  # operations whose first output is their first input
_CONSTANT = ("Constant", "Unsqueeze", "Identity", "Transpose")  # operations on initialisers
_EPSILON = 1e-5  # of ONNX's and PyTorch's batch norm


def iresnet_state(graph: OnnxGraph) -> dict[str, Tensor]:
    """Map the graph of an IResNet-18, -34, -50 or -100 to a state dict.

    Args:
        graph: content of the file.

    Returns:
        State dict of `IResNet`.

    Raises:
        CheckpointError: the graph is of another network.
    """
    convolutions = sum(node.op == "Conv" for node in graph.nodes)
    known = {1 + 2 * sum(blocks) + len(blocks): depth for depth, blocks in DEPTHS.items()}
    _check_operations(graph, "an IResNet")
    if convolutions not in known:
        expected = ", ".join(f"{number} (r{depth})" for number, depth in known.items())
        raise CheckpointError(
            f"holds no IResNet: its graph has {convolutions} convolutions, expected are {expected}; give another file"
        )
    with torch.device("meta"):
        network = IResNet(known[convolutions])
    walk = _GraphWalk(graph, network, network.architecture)
    value = walk.prelu(walk.convolution(walk.start, "conv1", "bn1"), "prelu")
    for stage in range(1, 5):
        for index, block in enumerate(network.get_submodule(f"layer{stage}").children()):
            name = f"layer{stage}.{index}"
            inner = walk.convolution(walk.norm(value, f"{name}.bn1"), f"{name}.conv1", f"{name}.bn2")
            inner = walk.convolution(walk.prelu(inner, f"{name}.prelu"), f"{name}.conv2", f"{name}.bn3")
            if isinstance(block, IResNetBlock) and block.downsample is not None:
                value = walk.convolution(value, f"{name}.downsample.0", f"{name}.downsample.1")
            value = walk.add(inner, value)
    walk.finish(walk.linear(walk.flatten(walk.norm(value, "bn2")), "fc", "features"))
    return walk.state


def insightface_mbf_state(graph: OnnxGraph) -> dict[str, Tensor]:
    """Map the graph of insightface's MobileFaceNet to a state dict.

    Args:
        graph: content of the file.

    Returns:
        State dict of `InsightMobileFaceNet`.

    Raises:
        CheckpointError: the graph is of another network.
    """
    _check_operations(graph, "a MobileFaceNet of insightface")
    blocks, scale = _mbf_size(graph)
    with torch.device("meta"):
        network = InsightMobileFaceNet(blocks, scale)
    walk = _GraphWalk(graph, network, network.architecture)
    value = walk.start
    for index, layer in enumerate(network.layers):
        value = _follow(walk, value, layer, f"layers.{index}")
    value = _follow(walk, value, network.conv_sep, "conv_sep")
    value = _follow(walk, value, network.features.layers[0], "features.layers.0")
    walk.finish(walk.linear(walk.flatten(value), "features.layers.2", "features.layers.3"))
    return walk.state


def _follow(walk: "_GraphWalk", value: str, module: nn.Module, name: str) -> str:
    """Follow a block: a convolution with its norm and activation, or blocks of those."""
    parts = list(module.get_submodule("layers").children())
    if isinstance(parts[0], nn.Conv2d):
        out = walk.convolution(value, f"{name}.layers.0", f"{name}.layers.1")
        return walk.prelu(out, f"{name}.layers.2") if len(parts) > 2 else out
    out = value
    for index, part in enumerate(parts):
        out = _follow(walk, out, part, f"{name}.layers.{index}")
    return walk.add(out, value) if isinstance(module, Layers) and module.has_shortcut else out


def _mbf_size(graph: OnnxGraph) -> tuple[tuple[int, ...], int]:
    """Numbers of blocks and width of a MobileFaceNet, by its convolutions in order."""
    nodes = [node for node in graph.nodes if node.op == "Conv"]
    shapes = [graph.initialisers[node.inputs[1]].shape if _has_weight(graph, node) else () for node in nodes]
    strided = [index for index, node in enumerate(nodes) if tuple(_ints(node, "strides")) == (2, 2)]
    scale = shapes[0][0] // UNIT_WIDTH if shapes and len(shapes[0]) == 4 else 0
    if len(strided) == 4 and strided[0] == 0 and 1 <= scale <= MAX_SCALE:
        # Between the strided depthwise convolutions lie one projection, blocks of three and one expansion.
        first = strided[1] - 2
        gaps = [strided[2] - strided[1] - 3, strided[3] - strided[2] - 3, len(nodes) - strided[3] - 4]
        blocks = (1 if first == 1 else first // 3, *(gap // 3 for gap in gaps))
        if not any(gap % 3 for gap in gaps) and all(1 <= number <= MAX_BLOCKS for number in blocks):
            return blocks, scale
    raise CheckpointError(
        f"holds no MobileFaceNet of insightface: its graph has {len(nodes)} convolutions, those with numbers "
        f"{strided[:8]} have stride 2, and the first has shape {shapes[0] if shapes else ()}; give another file"
    )


def _has_weight(graph: OnnxGraph, node: OnnxNode) -> bool:
    return len(node.inputs) > 1 and node.inputs[1] in graph.initialisers


def _check_operations(graph: OnnxGraph, label: str) -> None:
    found = Counter(node.op for node in graph.nodes)
    other = [op for op in found if op not in (*OPERATIONS, *_SILENT, *_CONSTANT)]
    if other:
        raise CheckpointError(
            f"holds no {label.partition(' ')[2]}: its graph has {', '.join(printable(op)[:40] for op in other[:3])}; "
            f"expected are only {', '.join(OPERATIONS)}; give another file"
        )
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise CheckpointError(
            f"holds no {label.partition(' ')[2]}: its graph has {len(graph.inputs)} inputs and {len(graph.outputs)} "
            "outputs, expected is one of each; give another file"
        )


class _GraphWalk:
    """Follows a graph beside a network and collects the network's state dict.

    Each method takes the name of a value in the graph, finds the operation of the expected type that reads it, checks
    its attributes and shapes against the network's module, and returns the name of the operation's result.
    """

    def __init__(self, graph: OnnxGraph, network: nn.Module, label: str):
        self.state: dict[str, Tensor] = {}
        self._network, self._label, self._graph = network, label, graph
        self._constants = dict(graph.initialisers)
        self._readers: dict[str, list[OnnxNode]] = defaultdict(list)
        self._used = 0
        self._total = 0
        same: dict[str, str] = {}
        for node in graph.nodes:
            if node.op in _CONSTANT and self._add_constant(node):
                continue
            if not node.inputs or not node.outputs:
                raise self._error(f"an operation {node.op} without inputs or outputs")
            if node.op in _SILENT:
                same[node.outputs[0]] = same.get(node.inputs[0], node.inputs[0])
                continue
            self._total += 1
            for name in dict.fromkeys(same.get(value, value) for value in node.inputs):
                self._readers[name].append(node)
        self._same = same
        self.start = graph.inputs[0]

    def convolution(self, value: str, name: str, norm: str) -> str:
        """Take a convolution and the norm after it, which may be folded into it."""
        node, module = self._reader(value, "Conv", name), self._module(name, nn.Conv2d)
        expected = {
            "strides": module.stride,
            "pads": (*_pair(module.padding), *_pair(module.padding)),
            "dilations": module.dilation,
        }
        for key, wanted in expected.items():
            found = _ints(node, key) or ((0, 0, 0, 0) if key == "pads" else (1, 1))
            if tuple(found) != tuple(wanted):
                raise self._error(f"{key} {tuple(found)[:4]} at {name}, not {tuple(wanted)}")
        groups, padding = self._number(node, "group", 1), node.attributes.get("auto_pad", b"NOTSET")
        if groups != module.groups or not isinstance(padding, bytes) or padding != b"NOTSET":
            raise self._error(f"{groups} groups or padding by the size at {name}, not {module.groups} groups")
        self.state[f"{name}.weight"] = self._constant(node, 1, module.weight.shape, name)
        bias = self._bias(node, module.out_channels, name)
        return self._folded(node, bias, norm)

    def linear(self, value: str, name: str, norm: str) -> str:
        """Take a dense layer and the norm after it, which may be folded into it."""
        module = self._module(name, nn.Linear)
        node = self._reader(value, ("Gemm", "MatMul"), name)
        scales = {self._number(node, key, 1.0) for key in ("alpha", "beta")}
        if scales != {1.0} or self._number(node, "transA", 0):
            raise self._error(f"a scaled or transposed product at {name}")
        shape = module.weight.shape
        if node.op == "Gemm" and self._number(node, "transB", 0):
            weight = self._constant(node, 1, shape, name)
        else:
            weight = self._constant(node, 1, shape[::-1], name).T.contiguous()
        self.state[f"{name}.weight"] = weight
        bias = self._bias(node, module.out_features, name)
        if module.bias is not None:
            self.state[f"{name}.bias"] = torch.zeros(len(weight)) if bias is None else bias
            bias = None
        return self._folded(node, bias, norm)

    def norm(self, value: str, name: str) -> str:
        """Take a batch norm."""
        return self._take_norm(self._reader(value, "BatchNormalization", name), name, None)

    def prelu(self, value: str, name: str) -> str:
        """Take a PReLU with one slope for each channel."""
        node, channels = self._reader(value, "PRelu", name), self._module(name, nn.PReLU).num_parameters
        slope = self._constant(node, 1, None, name)
        if slope.numel() != channels:
            raise self._error(f"{slope.numel()} slopes at {name}, not {channels}")
        self.state[f"{name}.weight"] = slope.reshape(channels)
        return node.outputs[0]

    def add(self, first: str, second: str) -> str:
        """Take the sum of two values."""
        node = self._reader(first, "Add", "a shortcut")
        if {self._same.get(name, name) for name in node.inputs} != {first, second} or first == second:
            raise self._error("a sum of other values than block and shortcut")
        return node.outputs[0]

    def flatten(self, value: str) -> str:
        """Take the operation that makes a map a vector."""
        node = self._reader(value, ("Flatten", "Reshape"), "the last map")
        if node.op == "Flatten" and self._number(node, "axis", 1) != 1:
            raise self._error("a Flatten of other axes")
        return node.outputs[0]

    def finish(self, value: str) -> None:
        """Check that the walk ended at the graph's result and left nothing out.

        Raises:
            CheckpointError: the graph goes on.
        """
        result = self._graph.outputs[0]
        if self._same.get(result, result) != value or self._used != self._total:
            raise self._error(f"{self._total} operations where the network has {self._used}, or another result")

    def _folded(self, node: OnnxNode, bias: Tensor | None, norm: str) -> str:
        """Take the norm after an operation; if there is none, its bias becomes that of a norm without effect."""
        out = node.outputs[0]
        if any(reader.op == "BatchNormalization" for reader in self._readers[out]):
            return self._take_norm(self._reader(out, "BatchNormalization", norm), norm, bias)
        module = self._norm_module(norm)
        channels = module.num_features
        self._set_norm(
            norm,
            torch.ones(channels),
            torch.zeros(channels) if bias is None else bias,
            torch.zeros(channels),
            torch.full((channels,), 1 - module.eps),
        )
        return out

    def _take_norm(self, node: OnnxNode, name: str, bias: Tensor | None) -> str:
        module = self._norm_module(name)
        shape = (module.num_features,)
        weight, shift, mean, variance = (self._constant(node, index, shape, name) for index in range(1, 5))
        epsilon = self._number(node, "epsilon", _EPSILON)
        if bias is not None:
            mean = mean - bias
        self._set_norm(name, weight, shift, mean, variance + (epsilon - module.eps))
        return node.outputs[0]

    def _set_norm(self, name: str, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> None:
        values = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
        self.state |= {f"{name}.{key}": value for key, value in values.items()}

    def _number(self, node: OnnxNode, key: str, default: float) -> float:
        """Return an attribute that is one number."""
        value = node.attributes.get(key, default)
        if not isinstance(value, int | float):
            raise self._error(f"no number as {key} of {node.op}")
        return value

    def _reader(self, value: str, op: str | Sequence[str], place: str) -> OnnxNode:
        wanted = (op,) if isinstance(op, str) else op
        readers = self._readers[value]
        found = [node for node in readers if node.op in wanted]
        if len(found) != 1:
            shown = ", ".join(node.op for node in readers[:3]) or "nothing"
            raise self._error(f"{shown} where {' or '.join(wanted)} is expected, at {place}")
        readers_of_result = found[0].outputs
        if len(readers_of_result) != 1 and found[0].op != "BatchNormalization":
            raise self._error(f"{len(readers_of_result)} results of {found[0].op} at {place}")
        self._used += 1
        return found[0]

    def _module(self, name: str, kind: type[Module]) -> Module:
        module = self._network.get_submodule(name)
        assert isinstance(module, kind)
        return module

    def _norm_module(self, name: str) -> nn.BatchNorm1d | nn.BatchNorm2d:
        module = self._network.get_submodule(name)
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        return module

    def _bias(self, node: OnnxNode, channels: int, name: str) -> Tensor | None:
        return self._constant(node, 2, (channels,), name) if len(node.inputs) > 2 and node.inputs[2] else None

    def _constant(self, node: OnnxNode, index: int, shape: Sequence[int] | None, place: str) -> Tensor:
        array = self._constants.get(node.inputs[index]) if len(node.inputs) > index else None
        if array is None:
            raise self._error(f"no constant as input {index} of {node.op} at {place}")
        if array.dtype != np.float32 or (shape is not None and array.shape != tuple(shape)):
            raise self._error(
                f"{array.dtype} of shape {array.shape} at {place}"
                + ("" if shape is None else f", not float32 of shape {tuple(shape)}")
            )
        return torch.from_numpy(array.copy())

    def _add_constant(self, node: OnnxNode) -> bool:
        """Keep the result of an operation on constants; False if it reads other values."""
        if node.op == "Constant":
            value = node.attributes.get("value")
            if isinstance(value, np.ndarray) and node.outputs:
                self._constants[node.outputs[0]] = value
            return True
        array = self._constants.get(node.inputs[0]) if node.inputs else None
        if array is None or not node.outputs:
            return False
        # The only use of Unsqueeze here is a slope for each channel: [C] becomes [C, 1, 1].
        self._constants[node.outputs[0]] = array.T if node.op == "Transpose" and array.ndim == 2 else array
        return True

    def _error(self, found: str) -> CheckpointError:
        return CheckpointError(f"holds no {self._label}: its graph has {printable(found)}; give another file")


def _pair(value: int | str | tuple[int, ...]) -> tuple[int, ...]:
    assert isinstance(value, tuple)
    return value


def _ints(node: OnnxNode, key: str) -> tuple[int, ...]:
    value = node.attributes.get(key, ())
    return value if isinstance(value, tuple) else ()
