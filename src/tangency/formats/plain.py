"""The globals that a pickle may use, each with a safe constructor of our own.

Nothing here calls the function that the pickle names: `numpy.core.multiarray._reconstruct`, for example, stands for our
`ArrayDraft`, which checks shape, dtype and bytes before it makes an array. A reader of another format adds rows to a
copy of the table (`{**PLAIN, ("torch", "FloatStorage"): Global(…)}`).
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tangency.errors import DataError, quoted

Arguments = tuple[Any, ...]

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16)|[SU][1-9][0-9]{0,6})")
_MAX_AXES = 32


@dataclass(frozen=True)
class Global:
    """An allowed global of a pickle: inert on the machine's stack, called only by the machine.

    Args:
        name: module and name, as the pickle writes them.
        call: from the tuple of arguments to a plain object or a `Draft`; None where it may only be an argument.
        text: replaces it from the start, for a mere name such as torch.float32.
    """

    name: str
    call: Callable[[Arguments], object] | None = None
    text: str | None = None


Table = Mapping[tuple[str, str], Global]


@dataclass
class Draft(ABC):
    """An object that awaits its state: the BUILD opcode turns it into a finished one, only once.

    Args:
        memo_keys: its keys in the machine's memo, where the finished object replaces it.
    """

    memo_keys: list[int] = field(default_factory=list)

    @abstractmethod
    def build(self, state: object) -> object:
        """The finished object."""


@dataclass(eq=False)
class Inert:
    """A placeholder for an object of another library.

    It accepts every call, state, attribute and item, and keeps only the state, unread, so that the tensors of a module
    that was saved whole can be read.

    Args:
        name: module and name, as the pickle writes them.
        state: of the BUILD opcode.
    """

    name: str
    state: object = None


def brief(value: object) -> str:
    """`value` in a few words: an error must not print a number of a million digits, or endlessly nested lists."""
    if isinstance(value, tuple | list):
        parts = [f"a {type(part).__name__}" if isinstance(part, tuple | list) else brief(part) for part in value[:6]]
        rest = ", …" if len(value) > len(parts) else "," if len(value) == 1 else ""
        return f"({', '.join(parts)}{rest})"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, str | bytes):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    return repr(value) if type(value) in (int, float, bool, type(None)) else f"a {type(value).__name__}"


def text_of(value: object) -> object:
    """The value, with text that Python 2 wrote as bytes decoded."""
    return value.decode("latin1") if isinstance(value, bytes) else value


def simple_dtype(text: object) -> np.dtype:
    """The dtype of fixed-size numbers or text that `text` names; objects, records and dates are refused."""
    name = text_of(text)
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise DataError(f"arrays of dtype {brief(name)}, expected plain numbers or fixed-length text (no objects)")
    return np.dtype(name)


def array_from_bytes(data: object, dtype: object, shape: object, fortran: bool) -> np.ndarray:
    """A read-only array over `data`, whose length must fit shape and dtype.

    Args:
        data: the bytes.
        dtype: a finished dtype.
        shape: tuple of at most 32 sizes ≥ 0.
        fortran: True where the first index runs fastest.
    """
    if not isinstance(dtype, np.dtype):
        raise DataError(f"an array whose dtype is a {type(dtype).__name__}, expected a plain dtype")
    if not isinstance(data, bytes):
        raise DataError(f"an array whose content is a {type(data).__name__}, expected bytes (no objects)")
    if not isinstance(shape, tuple) or len(shape) > _MAX_AXES or not all(type(n) is int and n >= 0 for n in shape):
        raise DataError(f"an array of shape {brief(shape)}, expected at most {_MAX_AXES} sizes of 0 or more")
    size = math.prod(shape) * dtype.itemsize
    if size != len(data):
        needed = f"an array of shape {brief(shape)} and dtype {dtype}, {brief(size)} bytes"
        raise DataError(f"{needed}, over {len(data)} bytes")
    try:
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # an empty array with absurd other sizes
        raise DataError(f"an array of shape {brief(shape)} ({quoted(error)})") from error


@dataclass
class DtypeDraft(Draft):
    """A dtype that awaits its byte order."""

    dtype: np.dtype = field(default_factory=lambda: np.dtype("u1"))

    def build(self, state: object) -> object:
        """The dtype in the byte order of state (version, order, subdtype, names, fields, …)."""
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise DataError("a dtype with fields or of subarrays, expected plain numbers or fixed-length text")
        order = text_of(state[1])
        if order not in ("<", ">", "|", "="):
            raise DataError(f"a dtype of byte order {brief(order)}, expected one of < > | =")
        return self.dtype.newbyteorder(order)


@dataclass
class ArrayDraft(Draft):
    """An array that awaits shape, dtype and bytes."""

    def build(self, state: object) -> object:
        """The array of state ([version,] shape, dtype, fortran, bytes)."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise DataError("an array with a state of unknown form, expected (version, shape, dtype, order, bytes)")
        shape, dtype, fortran, data = state[-4:]
        return array_from_bytes(data, dtype, shape, bool(fortran))


def _make_dtype(args: Arguments) -> object:
    if not 1 <= len(args) <= 3:
        raise DataError(f"a dtype with {len(args)} arguments, expected 1 to 3")
    return DtypeDraft(dtype=simple_dtype(args[0]))


def _make_scalar(args: Arguments) -> object:
    if len(args) != 2:
        raise DataError(f"a NumPy scalar with {len(args)} arguments, expected dtype and bytes")
    return array_from_bytes(args[1], args[0], (), False)[()]


def _make_array_from_buffer(args: Arguments) -> object:
    if len(args) != 4 or args[3] not in ("C", "F"):
        raise DataError("an array buffer of unknown form, expected (bytes, dtype, shape, order)")
    data, dtype, shape, order = args
    return array_from_bytes(data, dtype, shape, order == "F")


def _make_ordered(args: Arguments) -> object:
    pairs = args[0] if args else []
    if len(args) > 1 or not isinstance(pairs, list) or not all(type(p) in (list, tuple) and len(p) == 2 for p in pairs):
        raise DataError("an OrderedDict of unknown form, expected a list of pairs")
    ordered: OrderedDict[object, object] = OrderedDict()
    for key, value in pairs:
        ordered[hashable(key)] = value
    return ordered


def _make_set(kind: type) -> Callable[[Arguments], object]:
    def make(args: Arguments) -> object:
        if len(args) != 1 or not isinstance(args[0], list):
            raise DataError(f"a {kind.__name__} of unknown form, expected one list")
        return kind(map(hashable, args[0]))

    return make


def without_arguments(name: str, make: Callable[[], object]) -> Callable[[Arguments], object]:
    """The constructor of a class that the pickle calls without arguments."""

    def call(args: Arguments) -> object:
        if args:
            raise DataError(f"a {name} with arguments, expected none")
        return make()

    return call


def _encode_latin1(args: Arguments) -> object:
    if len(args) != 2 or not isinstance(args[0], str) or args[1] not in ("latin1", "latin-1", b"latin1", b"latin-1"):
        raise DataError("a call of _codecs.encode other than with text and 'latin1'")
    return args[0].encode("latin1")


def hashable(key: object) -> object:
    """`key` if it is a simple value or a flat tuple of them, whose hash needs neither code nor recursion."""
    parts = key if type(key) is tuple else (key,)
    if not all(type(part) in (str, bytes, int, float, bool, type(None)) for part in parts):
        raise DataError(f"a key or set member of type {type(key).__name__}, expected text, bytes, numbers or None")
    return key


_ROWS: dict[tuple[str, str], Callable[[Arguments], object] | None] = {
    ("collections", "OrderedDict"): _make_ordered,
    ("_codecs", "encode"): _encode_latin1,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _make_dtype,
}
for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _ROWS[f"{_core}.multiarray", "_reconstruct"] = lambda args: ArrayDraft()
    _ROWS[f"{_core}.multiarray", "scalar"] = _make_scalar
    _ROWS[f"{_core}.numeric", "_frombuffer"] = _make_array_from_buffer
for _builtins in ("builtins", "__builtin__"):  # Python 3 and 2
    _ROWS[_builtins, "set"] = _make_set(set)
    _ROWS[_builtins, "frozenset"] = _make_set(frozenset)
    _ROWS[_builtins, "bytes"] = without_arguments("bytes", bytes)

PLAIN: Table = {key: Global(".".join(key), call) for key, call in _ROWS.items()}
