"""Writes ONNX files field by field, so that tests need no onnx package; checked once against its reader."""

import struct
from collections.abc import Sequence

import numpy as np

TYPES = {"float32": 1, "int64": 7, "float16": 10, "bool": 9}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(number(1, side) for side in array.shape)
    return dims + number(2, TYPES[array.dtype.name]) + block(8, name) + block(9, array.tobytes())


def attribute(name: str, value: int | float | Sequence[int] | np.ndarray) -> bytes:
    if isinstance(value, np.ndarray):
        return block(1, name) + block(5, tensor("", value)) + number(20, 4)
    if isinstance(value, float):
        return block(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
    if isinstance(value, int):
        return block(1, name) + number(3, value) + number(20, 2)
    return block(1, name) + b"".join(number(8, one) for one in value) + number(20, 7)


def node(op: str, inputs: Sequence[str], output: str, **attributes: int | float | Sequence[int] | np.ndarray) -> bytes:
    parts = [block(1, name) for name in inputs] + [block(2, output), block(4, op)]
    return b"".join(parts) + b"".join(block(5, attribute(name, value)) for name, value in attributes.items())


def model(
    nodes: Sequence[bytes], arrays: dict[str, np.ndarray], source: str = "data", result: str = "out", extra: bytes = b""
) -> bytes:
    graph = b"".join(block(1, one) for one in nodes)
    graph += b"".join(block(5, tensor(name, array)) for name, array in arrays.items())
    graph += block(11, block(1, source)) + block(12, block(1, result)) + extra
    return number(1, 8) + block(8, number(2, 13)) + block(7, graph)
