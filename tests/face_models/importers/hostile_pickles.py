"""Pickles that would do harm if they were unpickled: each would create the canary file, or exhaust memory or time."""

import os
import pickle  # noqa: TID251  (writes hostile files)
import struct
from pathlib import Path
from typing import Any


class _Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def calls(canary: Path) -> dict[str, bytes]:
    """Pickles that create the canary if anything in them is called."""
    command, code = f"touch {canary}", f"open({str(canary)!r}, 'w')"
    found = {f"os.system, protocol {n}": pickle.dumps(_Call(os.system, command), protocol=n) for n in range(6)}
    found |= {
        "builtins.eval": pickle.dumps(_Call(eval, code), protocol=2),
        "builtins.exec in a dict": pickle.dumps({"v_template": _Call(exec, code)}, protocol=4),
        "getattr of an allowed class": b"c__builtin__\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR.",
        "numpy.load": b"cnumpy\nload\n(S'" + str(canary).encode() + b"'\ntR.",
        "numpy.fromfile": b"cnumpy\nfromfile\n(S'" + str(canary).encode() + b"'\ntR.",
        "numpy.f2py": b"cnumpy.f2py\ncompile\n(S'x'\ntR.",
        "importlib": b"cimportlib\nimport_module\n(S'antigravity'\ntR.",
        "subprocess by INST": b"(S'touch " + str(canary).encode() + b"'\nisubprocess\nPopen\n.",
        "os.system by OBJ": b"(cos\nsystem\nS'touch " + str(canary).encode() + b"'\no.",
        "name with a dot": b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.fill\x93.",
        "name of a name": b"\x80\x04\x8c\x12numpy.core.multiarray\x8c\x0c_reconstruct.__globals__\x93.",
        "nested reduce": b"ccopy_reg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.",
        "reduce of a result": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(S'x'\ntR.",
        "newobj of object": b"\x80\x02c__builtin__\nobject\n)\x81.",
        "extension registry": b"\x80\x02\x82\x01.",
        "extension registry 4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "persistent id": b"P" + str(canary).encode() + b"\n.",
        "binary persistent id": b"U\x01xQ.",
        "out-of-band buffer": b"\x80\x05\x97.",
        "build of a dict": b"}}S'__class__'\nNsb.",
    }
    return found


def bombs() -> dict[str, bytes]:
    """Pickles that claim or multiply more than there is in them."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    huge = b"(I1\n(L1152921504606846976L\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntRI00\nS'abcdefgh'\ntb."
    deep = b"()" + b"".join(b"2" for _ in range(3))
    pairs = b")q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(64))
    many = b"X" + struct.pack("<I", 1 << 16) + b"x" * (1 << 16) + b"q\x00"
    again = b"c_codecs\nencode\n(h\x00tR"
    return {
        "bytes of 2^60": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
        "text of 2^31": b"X\xff\xff\xff\x7fx.",
        "bytearray of 2^60": b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b"x.",
        "integer of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
        "memo of 2^32": b"Nr\xff\xff\xff\xff" * 2 + b"cos\nsystem\n.",
        "array of 2^60": array + huge,
        "array of negative size": array + huge.replace(b"L1152921504606846976L", b"I-1"),
        "duplicates": deep + b".",
        "key that takes for ever to hash": b"}" + pairs + b"Ns.",
        "the same bytes again and again": many + again * 100_000 + b".",
        "frame of 2^60": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"]",
        "two million opcodes": b"N0" * 10 + b"N" * 2_000_000 + b".",
        "no end": b"]" * 1000,
        "empty stack": b"R.",
        "nothing": b"",
    }
