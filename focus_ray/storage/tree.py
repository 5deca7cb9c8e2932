"""Converts a nested state to a JSON skeleton and named tensors, and back: exactly, and without pickle.

JSON has no tuples, no integer keys, no NaN and no tensors. Those become objects with one reserved key:
{"$tuple": [...]}, {"$dict": [[key, value], ...]}, {"$float": "nan"}, {"$tensor": "name"}.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from focus_ray.errors import CheckpointError

State = Any
"""None, bool, int, float, str, Tensor, or a list, tuple or dict of such; keys of dicts are str, int, float or bool."""

TUPLE, DICT, FLOAT, TENSOR = "$tuple", "$dict", "$float", "$tensor"


def to_skeleton(state: State) -> tuple[Any, dict[str, Tensor]]:
    """Split a nested state into a JSON skeleton and named tensors.

    Args:
        state: nested state.

    Returns:
        (JSON skeleton, tensors by name); the tensors are detached, on the CPU, contiguous, and share no memory.

    Raises:
        CheckpointError: the state holds another type.
    """
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()

    def visit(node: State, path: tuple[str, ...]) -> Any:
        if isinstance(node, Tensor):
            name = _unique_name("/".join(path) or "value", tensors)
            tensors[name] = detach_to_cpu(node, storages)
            return {TENSOR: name}
        if isinstance(node, Mapping):
            return visit_mapping(node, path)
        if type(node) is tuple:
            return {TUPLE: [visit(item, (*path, str(i))) for i, item in enumerate(node)]}
        if type(node) is list:
            return [visit(item, (*path, str(i))) for i, item in enumerate(node)]
        return _encode_leaf(node, path)

    def visit_mapping(node: Mapping[Any, State], path: tuple[str, ...]) -> Any:
        items = [(key, visit(value, (*path, str(key)))) for key, value in node.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
            return dict(items)
        return {DICT: [[_encode_leaf(key, path), value] for key, value in items]}

    return visit(state, ()), tensors


def from_skeleton(skeleton: Any, tensors: Mapping[str, Tensor]) -> State:
    """Rebuild the state that `to_skeleton` split.

    Args:
        skeleton: JSON skeleton.
        tensors: tensors by name.

    Returns:
        The nested state, with the tensors given.

    Raises:
        CheckpointError: skeleton and tensors do not match.
    """
    unused = set(tensors)

    def visit(node: Any) -> State:
        if isinstance(node, list):
            return [visit(item) for item in node]
        if not isinstance(node, dict):
            return node
        tag = next((key for key in node if key.startswith("$")), None)
        if tag is None:
            return {key: visit(value) for key, value in node.items()}
        return restore[tag](node[tag])

    def tensor(name: str) -> Tensor:
        unused.discard(name)
        return tensors[name]

    restore = {
        TUPLE: lambda items: tuple(visit(item) for item in items),
        DICT: lambda items: {visit(key): visit(value) for key, value in items},
        FLOAT: float,
        TENSOR: tensor,
    }
    try:
        state = visit(skeleton)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the state does not fit its tensors ({error}); use an earlier checkpoint") from None
    if unused:
        raise CheckpointError(f"tensor {min(unused)!r} is not part of the state; use an earlier checkpoint")
    return state


def _encode_leaf(node: Any, path: tuple[str, ...]) -> Any:
    """Encode a leaf as JSON; Python writes finite floats so that reading gives the same bits."""
    if isinstance(node, float):
        return float(node) if math.isfinite(node) else {FLOAT: repr(float(node))}
    if isinstance(node, (bool, int, str)) or node is None:
        return node
    name = "/".join(path) or "the state"
    raise CheckpointError(f"{name} is a {type(node).__name__}, which cannot be stored; use numbers, text or a tensor")


def detach_to_cpu(tensor: Tensor, storages: set[int]) -> Tensor:
    """Prepare a tensor for writing: detach it and give it a storage of its own on the CPU.

    Args:
        tensor: tensor of any shape and type.
        storages: addresses of the storages returned so far; updated in place.

    Returns:
        The tensor, contiguous, the only one in its storage; a copy only if needed.
    """
    plain = tensor.detach().cpu().contiguous()
    storage = plain.untyped_storage().data_ptr()
    if storage in storages or plain.untyped_storage().nbytes() != plain.numel() * plain.element_size():
        plain = plain.clone(memory_format=torch.contiguous_format)
    storages.add(storage)
    return plain


def _unique_name(name: str, taken: Mapping[str, Tensor]) -> str:
    """Return `name`, with a number appended if it is taken: keys such as 0 and "0" give the same name."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}~{count}"
    return candidate
