"""The reader of ONNX files: what it reads, and that other files are refused with a reason before arrays are made."""

import contextlib
import tracemalloc

import numpy as np
import pytest

from focus_ray.errors import CheckpointError
from focus_ray.storage.onnx_file import is_onnx, parse_onnx, read_onnx
from tests.storage import onnx_writer as write

WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
NODES = (
    write.node("Conv", ["data", "w"], "a", strides=(2, 2), group=1, auto=-1),
    write.node("BatchNormalization", ["a", "k"], "out", epsilon=0.5),
    write.node("Constant", [], "k", value=np.array([3, -1])),
)
FILE = write.model(NODES, {"w": WEIGHT, "half": WEIGHT.astype(np.float16)})


def test_nodes_attributes_and_arrays_are_read(tmp_path):
    (tmp_path / "net.onnx").write_bytes(FILE)
    graph = read_onnx(tmp_path / "net.onnx")
    assert [node.op for node in graph.nodes] == ["Conv", "BatchNormalization", "Constant"]
    assert graph.nodes[0].inputs == ("data", "w")
    assert graph.nodes[0].attributes == {"strides": (2, 2), "group": 1, "auto": -1}
    assert graph.nodes[1].attributes == {"epsilon": 0.5}
    assert np.array_equal(graph.nodes[2].attributes["value"], [3, -1])
    assert np.array_equal(graph.initialisers["w"], WEIGHT)
    assert (graph.inputs, graph.outputs) == (("data",), ("out",))


def test_values_of_typed_fields_are_read():
    packed = (
        write.number(1, 2) + write.number(2, 1) + write.block(8, "p") + write.block(4, np.float32([1, 2]).tobytes())
    )
    whole = (
        write.number(1, 2)
        + write.number(2, 7)
        + write.block(8, "i")
        + write.block(7, write.varint(5) + write.varint(-1))
    )
    graph = parse_onnx(write.model(NODES, {}, extra=write.block(5, packed) + write.block(5, whole)))
    assert graph.initialisers["p"].tolist() == [1, 2]
    assert graph.initialisers["i"].tolist() == [5, -1]


def big(dims: tuple[int, ...], **fields: bytes) -> bytes:
    """A tensor that claims more values than it has."""
    content = b"".join(write.number(1, side) for side in dims) + write.number(2, 1) + write.block(8, "w")
    return write.block(5, content + b"".join(fields.values()))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 graphs"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "0 graphs|not a protobuf message|truncated"),
        (FILE[:-40], "truncated"),
        (FILE[:100], "truncated"),
        (write.block(7, b""), "no nodes"),
        (FILE + FILE, "2 graphs"),
        (b"\x3a" + b"\xff" * 12, "truncated"),
        (write.model(NODES, {}, extra=big((1 << 40, 1 << 40))), "with 0 values"),
        (write.model(NODES, {}, extra=big((-4,))), "of shape"),
        (write.model(NODES, {}, extra=big((0, 1 << 62, 1 << 62))), "of shape"),
        (write.model((write.block(4, "X") + write.block(1, "a") * 5000,), {}), "more than 4096"),
        (write.model((write.block(4, "X") + write.block(5, write.block(8, bytes(5000))),), {}), "more than 4096"),
        (write.model(NODES, {}, extra=big((1,) * 9)), "of shape"),
        (write.model(NODES, {}, extra=big((1,), raw=write.block(9, b"abc"))), "3 bytes"),
        (write.model(NODES, {}, extra=big((1,), place=write.number(14, 1))), "in another file"),
        (write.model(NODES, {}, extra=big((1,), place=write.block(13, b"key"))), "in another file"),
        (write.model(NODES, {"w": WEIGHT.astype(bool)}), "data type 9"),
        (write.model(NODES, {}, extra=write.block(15, b"")), "sparse"),
        (write.model(NODES, {"w": WEIGHT}, extra=write.block(5, write.tensor("w", WEIGHT))), "two initialisers"),
        (write.model((write.block(4, "If") + write.block(5, write.block(6, b"")),), {}), "sub-graphs"),
        (write.model((write.block(4, "X") + write.block(7, "com.evil"),), {}), "operations of"),
        (write.model((write.block(4, b"\xff\xfe"),), {}), "not text"),
    ],
)
def test_other_files_are_refused_without_their_arrays(content, reason):
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=reason):
        parse_onnx(content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20


def test_no_cut_and_no_changed_byte_raises_another_error():
    rng = np.random.default_rng(0)
    for trial in range(400):
        changed = bytearray(FILE[: rng.integers(1, len(FILE))] if trial % 2 else FILE)
        changed[rng.integers(len(changed))] = rng.integers(256)
        with contextlib.suppress(CheckpointError):
            parse_onnx(bytes(changed))


def test_missing_and_large_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.onnx is not a file"):
        read_onnx(tmp_path / "none.onnx")
    (tmp_path / "net.onnx").write_bytes(FILE)
    with pytest.raises(CheckpointError, match=r"net\.onnx has \d+ bytes, more than 10"):
        read_onnx(tmp_path / "net.onnx", max_bytes=10)
    assert is_onnx("a/W600K.ONNX")
    assert not is_onnx("a.pth")
