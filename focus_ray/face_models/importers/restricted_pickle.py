"""Reads the data in a pickle without unpickling it: nothing that the file names is imported or called.

A small machine of its own executes the opcodes that data need. Names of functions and classes stay names: the few that
make numpy arrays are understood, those of chumpy, scipy.sparse and torch become `Inert` records, and all others are
refused. Arrays cannot be larger than their bytes in the file. Opcodes for extension registries, persistent ids,
instances of other classes and out-of-band buffers are refused.
"""

import codecs
import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NoReturn

import numpy as np

from focus_ray.errors import FaceModelError, printable

MAX_OPCODES = 1_000_000
"""More than published models have by three orders; bounds time, and memory beside the file's own size."""

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_OBJECT = np.dtype(object)
_NUMBER = re.compile(r"[biuf][1248]")
_INERT_PACKAGES = ("chumpy", "scipy", "torch")
_UNDERSTOOD = {
    "numpy.core.multiarray._reconstruct": "array",
    "numpy._core.multiarray._reconstruct": "array",
    "numpy.core.multiarray.scalar": "scalar",
    "numpy._core.multiarray.scalar": "scalar",
    "numpy.dtype": "dtype",
    "copy_reg._reconstructor": "new",
    "copyreg._reconstructor": "new",
    "_codecs.encode": "encode",
    "__builtin__.bytes": "empty",
    "builtins.bytes": "empty",
    "__builtin__.set": "list",
    "builtins.set": "list",
    "collections.OrderedDict": "dict",
    "numpy.ndarray": "name",
    "__builtin__.object": "name",
    "builtins.object": "name",
}
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
}  # fmt: skip
_EMPTY: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_DAMAGE = (ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError, MemoryError)


@dataclass(frozen=True)
class _Name:
    """A function or class of a pickle, which is never looked up."""

    text: str

    @property
    def inert(self) -> bool:
        return self.text.partition(".")[0] in _INERT_PACKAGES


@dataclass(eq=False)
class Inert:
    """An object of a package that is not used: its class, its arguments and its state, as data.

    Attributes:
        kind: name of the class with its module.
        arguments: of its constructor.
        state: what `__setstate__` would have received.
    """

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None


@dataclass(eq=False)
class Array:
    """A numpy array of a pickle.

    Attributes:
        values: the array, or the objects of an array of objects.
    """

    values: np.ndarray | list[Any] = field(default_factory=list)


@dataclass(eq=False)
class _Type:
    dtype: np.dtype[Any]


def read_pickle(content: bytes, name: str) -> Any:
    """Read a pickle of any protocol up to 4; texts of Python 2 are read as latin1.

    Args:
        content: the pickle.
        name: of the file, for messages.

    Returns:
        Numbers, texts, bytes, lists, tuples and dicts (with texts or integers as keys); sets as lists; `Array` for
        numpy arrays; `Inert` for objects of chumpy, scipy.sparse and torch.

    Raises:
        FaceModelError: the pickle is damaged, or it names anything else.
    """
    try:
        return _Machine(BytesIO(content), printable(name)).run()
    except _DAMAGE as error:
        raise FaceModelError(
            f"{printable(name)} is damaged or not a pickle ({printable(error)}); get it again"
        ) from None


class _Machine:
    """The stack machine of a pickle, for data only."""

    def __init__(self, stream: BytesIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._unused_bytes = len(stream.getbuffer())

    def run(self) -> Any:
        for _ in range(MAX_OPCODES):
            opcode = _OPCODES[self._stream.read(1).decode("latin1")]
            if opcode.name == "STOP":
                return self._stack.pop()
            self._execute(opcode.name, self._argument(opcode))
        raise FaceModelError(f"{self._name} has more than {MAX_OPCODES} opcodes; it is no published face model")

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        if opcode.name == "STRING":  # pickletools reads ASCII only
            line = self._stream.readline()
            return codecs.escape_decode(line.strip()[1:-1])[0].decode("latin1")
        return None if opcode.arg is None else opcode.arg.reader(self._stream)

    def _execute(self, opcode: str, argument: Any) -> None:
        if opcode in _LITERALS:
            self._stack.append(argument)
        elif opcode in _EMPTY:
            self._stack.append(_EMPTY[opcode]())
        elif opcode == "MARK":
            self._marks.append(len(self._stack))
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif opcode not in ("PROTO", "FRAME"):
            handler = getattr(self, f"_do_{opcode.lower()}", None)
            if handler is None:
                self._refuse(f"uses the opcode {opcode}")
            handler(*([] if argument is None else [argument]))

    def _refuse(self, what: str) -> NoReturn:
        raise FaceModelError(f"{self._name} {what}, which no published face model needs; do not trust this file")

    def _pop_marked(self) -> list[Any]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _do_memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _do_tuple(self) -> None:
        self._stack.append(tuple(self._pop_marked()))

    def _do_tuple1(self) -> None:
        self._stack[-1:] = [tuple(self._stack[-1:])]

    def _do_tuple2(self) -> None:
        self._stack[-2:] = [tuple(self._stack[-2:])]

    def _do_tuple3(self) -> None:
        self._stack[-3:] = [tuple(self._stack[-3:])]

    def _do_list(self) -> None:
        self._stack.append(self._pop_marked())

    def _do_append(self) -> None:
        value = self._stack.pop()
        self._extend([value])

    def _do_appends(self) -> None:
        self._extend(self._pop_marked())

    def _do_additems(self) -> None:
        self._extend(self._pop_marked())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            self._refuse("appends to what is no list")
        target.extend(values)

    def _do_dict(self) -> None:
        values = self._pop_marked()
        self._stack.append({})
        self._update(values)

    def _do_setitem(self) -> None:
        values = self._stack[-2:]
        del self._stack[-2:]
        self._update(values)

    def _do_setitems(self) -> None:
        self._update(self._pop_marked())

    def _update(self, values: list[Any]) -> None:
        target = self._stack[-1]
        keys = values[::2]
        # Keys of other types can be made to take forever to hash.
        if not isinstance(target, dict) or not all(isinstance(key, str | int) for key in keys):
            self._refuse("sets items other than by a text or an integer in a dict")
        target.update(zip(keys, values[1::2], strict=True))

    def _do_global(self, argument: str) -> None:
        self._push_name(argument.replace(" ", "."))

    def _do_stack_global(self) -> None:
        module, name = self._stack[-2:]
        del self._stack[-2:]
        self._push_name(f"{module}.{name}")

    def _push_name(self, text: str) -> None:
        name = _Name(text)
        if text not in _UNDERSTOOD and not name.inert:
            self._refuse(f"names {printable(text)[:80]}")
        self._stack.append(name)

    def _do_reduce(self) -> None:
        function, arguments = self._stack[-2:]
        del self._stack[-2:]
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            self._refuse("calls what is no function")
        self._stack.append(self._call(function, arguments))

    def _do_newobj(self) -> None:
        kind, arguments = self._stack[-2:]
        del self._stack[-2:]
        self._stack.append(self._new(kind, arguments))

    def _new(self, kind: Any, arguments: tuple[Any, ...]) -> Inert:
        if not isinstance(kind, _Name) or not kind.inert:
            self._refuse("creates an object of a class that is not understood")
        return Inert(kind.text, arguments)

    def _call(self, function: _Name, arguments: tuple[Any, ...]) -> Any:
        match _UNDERSTOOD.get(function.text, "inert"):
            case "array":
                return Array()
            case "dtype":
                return _Type(self._dtype(arguments[0]))
            case "scalar":
                return np.frombuffer(self._raw(arguments[1]), arguments[0].dtype)[0].item()
            case "new":
                return self._new(arguments[0], ())
            case "encode":
                return self._raw(arguments[0])
            case "list" if isinstance(arguments[0], list):
                return arguments[0]
            case "dict" if not arguments:
                return {}
            case "empty" if not arguments:
                return b""
            case "inert":
                return Inert(function.text, arguments)
        self._refuse(f"calls {function.text}")

    def _dtype(self, text: Any) -> np.dtype[Any]:
        if text in ("O8", "O4", "O"):
            return _OBJECT
        if not isinstance(text, str) or not _NUMBER.fullmatch(text):
            self._refuse("has an array of another type than numbers")
        return np.dtype(text)

    def _do_build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, Array):
            target.values = self._array(*state[-4:])
        elif isinstance(target, _Type):
            if state[1] in ("<", ">"):
                target.dtype = target.dtype.newbyteorder(state[1])
        elif isinstance(target, Inert):
            target.state = state
        else:
            self._refuse("sets the state of what has none")

    def _array(self, shape: tuple[int, ...], kind: _Type, fortran: Any, content: Any) -> np.ndarray | list[Any]:
        if not all(type(length) is int and length >= 0 for length in shape):
            self._refuse("has an array with a malformed shape")
        count = math.prod(shape)
        raw = content if kind.dtype == _OBJECT and isinstance(content, list) else self._raw(content)
        has = len(raw) if isinstance(raw, list) else len(raw) / kind.dtype.itemsize
        if has != count:
            raise FaceModelError(f"{self._name}: an array claims {count} values but has {has:g}; get the file again")
        if isinstance(raw, list):
            return raw
        return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")

    def _raw(self, content: Any) -> bytes:
        """Return the bytes of an array; Python 2 stored them as a text, which is copied: each byte of a file once."""
        if isinstance(content, bytes):
            return content
        if not isinstance(content, str) or len(content) > self._unused_bytes:
            self._refuse("uses the same bytes again, or no bytes, for an array")
        self._unused_bytes -= len(content)
        return content.encode("latin1")
