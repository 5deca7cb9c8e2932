"""Reads the graph of an ONNX file: nodes, attributes and initialisers, by a bounded reader of its protobuf fields.

Nothing of the file is executed, other files that it names are not opened, and every length is checked against the bytes
that are there before an array is made. Arrays are views of the file's content.
"""

import struct
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from focus_ray.errors import CheckpointError, printable

MAX_BYTES = 1 << 30  # of a file; IResNet-100 has 261 MB
MAX_NODES = 20_000
MAX_INITIALISERS = 20_000
_MAX_DIMENSIONS = 8
_MAX_VALUES = 4096  # of a list: integers of an attribute, names of a node, integers that are not raw bytes
_MAX_VARINT_BYTES = 10

# Wire types of protobuf.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}

# TensorProto.DataType: the types that networks of published weights use.
_TYPES = {1: np.dtype("<f4"), 6: np.dtype("<i4"), 7: np.dtype("<i8"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}
# Numbers of fields of onnx.proto3.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALISER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_NAME = 1  # of an attribute and of a ValueInfoProto
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_BYTES, _ATTRIBUTE_TENSOR, _ATTRIBUTE_INTS = 2, 3, 4, 5, 8
_ATTRIBUTE_GRAPHS = (6, 11)
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_TENSOR_DATA = {4: 1, 5: 6, 7: 7, 10: 11}  # field of typed values: their DataType
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14

Value = int | float | bytes | tuple[int, ...] | np.ndarray
Field = tuple[int, int, int | memoryview]


class _MalformedError(Exception):
    """The bytes are not what the format says; the message completes "it ..."."""


@dataclass(frozen=True)
class OnnxNode:
    """An operation of the graph: its type, the names of the values that it reads and writes, and its attributes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class OnnxGraph:
    """The graph of a file.

    Attributes:
        nodes: in the order of the file, which is one of execution.
        initialisers: constant arrays by name; read-only views.
        inputs: names of the values to feed, without those that have an initialiser.
        outputs: names of the results.
    """

    nodes: tuple[OnnxNode, ...]
    initialisers: dict[str, np.ndarray]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def is_onnx(path: Path | str) -> bool:
    """Return whether a file has the name of an ONNX file."""
    return Path(path).suffix.lower() == ".onnx"


def read_onnx(path: Path | str, *, max_bytes: int = MAX_BYTES) -> OnnxGraph:
    """Read the graph of a file.

    Args:
        path: the file.
        max_bytes: largest size of the file.

    Raises:
        CheckpointError: the file is missing, too large, truncated or not an ONNX file, or holds what this reader
            refuses: external data, sub-graphs, sparse or other than float and integer arrays.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise CheckpointError(f"{printable(path)} is not a file; give an .onnx file")
        size = path.stat().st_size
        if size > max_bytes:
            raise CheckpointError(
                f"{printable(path)} has {size} bytes, more than {max_bytes}; give the network of one recogniser"
            )
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {printable(path)} ({error.strerror}); give an .onnx file") from None
    try:
        return parse_onnx(content)
    except CheckpointError as error:
        raise CheckpointError(f"{printable(path)} {error}") from None


def parse_onnx(content: bytes) -> OnnxGraph:
    """Parse the content of a file.

    Raises:
        CheckpointError: as `read_onnx`, without the name of the file.
    """
    try:
        return _graph(memoryview(content))
    except _MalformedError as error:
        raise CheckpointError(f"cannot be used as ONNX file: it {printable(error)}; give an intact copy") from None


def _graph(content: memoryview) -> OnnxGraph:
    graphs = [value for number, value in _messages(content) if number == _MODEL_GRAPH]
    if len(graphs) != 1:
        raise _MalformedError(f"holds {len(graphs)} graphs, not one")
    nodes: list[OnnxNode] = []
    arrays: dict[str, np.ndarray] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    for number, value in _messages(graphs[0]):
        if number == _GRAPH_NODE:
            nodes.append(_node(value))
        elif number == _GRAPH_INITIALISER:
            name, array = _tensor(value)
            if name in arrays:
                raise _MalformedError(f"has two initialisers {name[:80]!r}")
            arrays[name] = array
        elif number in (_GRAPH_INPUT, _GRAPH_OUTPUT):
            (inputs if number == _GRAPH_INPUT else outputs).append(_text_of(value, _NAME))
        elif number == _GRAPH_SPARSE:
            raise _MalformedError("has sparse initialisers")
        if len(nodes) > MAX_NODES or len(arrays) > MAX_INITIALISERS:
            raise _MalformedError(f"has more than {MAX_NODES} nodes or {MAX_INITIALISERS} initialisers")
    if not nodes:
        raise _MalformedError("has no nodes")
    return OnnxGraph(tuple(nodes), arrays, tuple(name for name in inputs if name not in arrays), tuple(outputs))


def _node(content: memoryview) -> OnnxNode:
    inputs: list[str] = []
    outputs: list[str] = []
    op, attributes = "", {}
    for number, value in _messages(content):
        if number == _NODE_INPUT:
            inputs.append(_text(value))
        elif number == _NODE_OUTPUT:
            outputs.append(_text(value))
        elif number == _NODE_OP:
            op = _text(value)
        elif number == _NODE_DOMAIN and _text(value) not in ("", "ai.onnx"):
            raise _MalformedError(f"uses operations of {_text(value)[:80]!r}")
        elif number == _NODE_ATTRIBUTE:
            name, attribute = _attribute(value)
            attributes[name] = attribute
        if max(len(inputs), len(outputs), len(attributes)) > _MAX_VALUES:
            raise _MalformedError(f"has a node with more than {_MAX_VALUES} inputs, outputs or attributes")
    return OnnxNode(op, tuple(inputs), tuple(outputs), attributes)


def _attribute(content: memoryview) -> tuple[str, Value]:
    name, found = "", b""
    integers: list[int] = []
    for number, wire, value in _fields(content):
        if number == _NAME and isinstance(value, memoryview):
            name = _text(value)
        elif number == _ATTRIBUTE_INTS:
            integers += _integers(wire, value)
            _check_length(integers)
        elif number in _ATTRIBUTE_GRAPHS:
            raise _MalformedError("has sub-graphs")
        else:
            read = _single_value(number, wire, value)
            found = found if read is None else read
    return name, tuple(integers) if integers else found


def _single_value(number: int, wire: int, value: int | memoryview) -> Value | None:
    """The value of an attribute that is not a list; None for fields that carry none."""
    if number == _ATTRIBUTE_INT and wire == _VARINT and isinstance(value, int):
        return _signed(value)
    if number == _ATTRIBUTE_FLOAT and wire == _FIXED32 and isinstance(value, memoryview):
        return struct.unpack("<f", value)[0]
    if wire == _BYTES and isinstance(value, memoryview):
        if number == _ATTRIBUTE_TENSOR:
            return _tensor(value)[1]
        if number == _ATTRIBUTE_BYTES:
            return bytes(value)
    return None


def _tensor(content: memoryview) -> tuple[str, np.ndarray]:
    name, kind, raw, typed = "", 0, None, []
    dims: list[int] = []
    for number, wire, value in _fields(content):
        if number == _TENSOR_DIMS:
            dims += _integers(wire, value)
            _check_length(dims)
        elif number == _TENSOR_TYPE and isinstance(value, int):
            kind = value
        elif number == _TENSOR_NAME and isinstance(value, memoryview):
            name = _text(value)
        elif number == _TENSOR_RAW and isinstance(value, memoryview):
            raw = value
        elif number in _TENSOR_DATA:
            typed.append((number, wire, value))
            _check_length(typed)
        elif number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value):
            raise _MalformedError(f"keeps {name[:80]!r} in another file; save the weights into the .onnx file")
    return name, _array(name[:80], kind, dims, raw, typed)


def _array(shown: str, kind: int, dims: list[int], raw: memoryview | None, typed: list[Field]) -> np.ndarray:
    if kind not in _TYPES:
        raise _MalformedError(f"has initialiser {shown!r} of data type {kind}; only {sorted(_TYPES)} are read")
    if len(dims) > _MAX_DIMENSIONS or any(side < 0 for side in dims):
        raise _MalformedError(f"has initialiser {shown!r} of shape {dims[:_MAX_DIMENSIONS]}")
    array = _values(kind, raw, typed)
    if array.size != prod(dims):
        raise _MalformedError(f"has initialiser {shown!r} of shape {dims} with {array.size} values")
    try:
        return array.reshape(dims)
    except ValueError:  # without values, but with more dimensions than memory has addresses
        raise _MalformedError(f"has initialiser {shown!r} of shape {dims}") from None


def _values(kind: int, raw: memoryview | None, typed: list[Field]) -> np.ndarray:
    """The values of a tensor, from its raw bytes or from one packed field of its type."""
    dtype = _TYPES[kind]
    if raw is None and typed and all(_TENSOR_DATA[number] == kind for number, _, _ in typed):
        if kind in (6, 7):
            integers = [one for _, wire, value in typed for one in _integers(wire, value)]
            _check_length(integers)
            return np.array(integers, dtype)
        if len(typed) == 1 and isinstance(typed[0][2], memoryview):
            raw = typed[0][2]
    raw = memoryview(b"") if raw is None else raw
    if len(raw) % dtype.itemsize:
        raise _MalformedError(f"has an array of {len(raw)} bytes for values of {dtype.itemsize}")
    return np.frombuffer(raw, dtype)


def _text_of(content: memoryview, wanted: int) -> str:
    return next((_text(value) for number, value in _messages(content) if number == wanted), "")


def _messages(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields with a length."""
    return ((number, value) for number, _, value in _fields(content) if isinstance(value, memoryview))


def _fields(content: memoryview) -> Iterator[Field]:
    """The fields of a message: (number, wire type, value)."""
    position = 0
    while position < len(content):
        key, position = _varint(content, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(content, position)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, position = _varint(content, position)
        elif wire in _FIXED_SIZES:
            size = _FIXED_SIZES[wire]
        else:
            raise _MalformedError(f"is not a protobuf message (wire type {wire})")
        if number == 0 or size > len(content) - position:
            raise _MalformedError("is truncated, or not a protobuf message")
        yield number, wire, content[position : position + size]
        position += size


def _varint(content: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(content):
            break
        byte = content[position + index]
        result |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return result, position + index + 1
    raise _MalformedError("is truncated, or not a protobuf message")


def _integers(wire: int, value: int | memoryview) -> list[int]:
    """The integers of a repeated field, packed or one at a time."""
    if isinstance(value, int):
        return [_signed(value)]
    if wire != _BYTES:
        raise _MalformedError("is not a protobuf message of ONNX")
    found, position = [], 0
    while position < len(value):
        one, position = _varint(value, position)
        found.append(_signed(one))
        _check_length(found)
    return found


def _check_length(values: Sized) -> None:
    if len(values) > _MAX_VALUES:
        raise _MalformedError(f"has a list of more than {_MAX_VALUES} values")


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _text(value: memoryview) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise _MalformedError("has a name that is not text") from None
