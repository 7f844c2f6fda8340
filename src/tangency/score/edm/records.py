"""What the pickles of Karras et al. (2022) hold, as inert records: no class is looked up, no source code is run.

In the file a module is a call of `torch_utils.persistence._reconstruct_persistent_obj`, whose one argument, a dict,
holds the name of the class, the source code of its Python file, and the attributes. Here it becomes a dict of the name
and the attributes, and the source code is dropped unread. A tensor becomes a read-only NumPy array over the bytes of
the file.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict, TypeGuard

import numpy as np

from tangency.errors import DataError, quoted
from tangency.formats.plain import PLAIN, Arguments, Draft, Global, Table, brief
from tangency.formats.torch_records import are_sizes, make_device, make_size
from tangency.formats.unpickle import next_pickle

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch.save before its zip format
_SMALL_PICKLE = 1 << 16  # bytes that a header of a storage may become
_MOST_AXES, _LONGEST_NAME = 16, 100
_STORAGES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "BoolStorage": "?",
}
_DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
_MODULES = {
    "container": ("ModuleDict", "ModuleList", "Sequential"),
    "linear": ("Identity", "Linear"),
    "conv": ("Conv2d",),
    "normalization": ("GroupNorm",),
    "activation": ("SiLU",),
    "dropout": ("Dropout",),
}


class Record(TypedDict):
    """A module: the name of its class, and its attributes."""

    class_name: str
    state: dict[str, object]


@dataclass(frozen=True)
class StoredNumbers:
    """The numbers that tensors are views of; inert, and refused where the pickle leaves them bare.

    Args:
        values: (n,), read-only.
    """

    values: np.ndarray


@dataclass
class ModuleDraft(Draft):
    """A module of torch itself before its attributes are set."""

    class_name: str = ""

    def build(self, state: object) -> object:
        """The record of the attributes."""
        if type(state) is not dict:
            raise DataError(f"a torch module whose state is a {type(state).__name__}, expected a dict")
        return {"class_name": self.class_name, "state": state}


def is_record(value: object) -> TypeGuard[Record]:
    """Whether `value` stands for a module."""
    return type(value) is dict and value.keys() == {"class_name", "state"}


def decode_storage(data: bytes) -> np.ndarray:
    """The numbers in the bytes of a storage as `torch.save` wrote it before its zip format, (n,), read-only.

    Raises:
        DataError: any other bytes; what they hold, in a few words.
    """
    stream, table = io.BytesIO(data), {("torch", name): Global(f"torch.{name}") for name in _STORAGES}
    try:
        magic, protocol, system = (next_pickle(stream, _SMALL_PICKLE, {}) for _ in range(3))
        reference = next_pickle(stream, _SMALL_PICKLE, table, _reference)
        keys = next_pickle(stream, _SMALL_PICKLE, {})
    except DataError as error:
        raise DataError(f"tensor bytes that ask for or hold {quoted(error)}") from error
    except (ValueError, KeyError, OverflowError, MemoryError) as error:
        raise DataError(f"tensor bytes that are not a storage in torch's old format ({str(error)[:200]})") from error
    if (magic, protocol) != (_MAGIC, _PROTOCOL) or type(system) is not dict or system.get("little_endian") is not True:
        raise DataError("tensor bytes that are not a little-endian storage in torch's old format")
    if type(reference) is not tuple or keys != [reference[1]]:
        raise DataError("tensor bytes that do not hold exactly one storage")
    dtype, _, count = reference
    start = stream.tell() + 8
    size = int.from_bytes(data[start - 8 : start], "little", signed=True)
    if size != count or len(data) != start + count * np.dtype(dtype).itemsize:
        raise DataError(f"a storage of {count} numbers of type {dtype} over {max(0, len(data) - start)} bytes")
    return np.frombuffer(data, dtype, count, start)


def _reference(identity: object) -> tuple[str, str, int]:
    """(dtype, key, count) of ("storage", type, key, place, count, view)."""
    parts = identity if type(identity) is tuple else ()
    if len(parts) not in (5, 6) or parts[0] != "storage" or not isinstance(parts[1], Global) or any(parts[5:]):
        raise DataError(f"a reference of unknown form, {brief(identity)}")
    key, count = parts[2], parts[4]
    if type(key) is not str or type(count) is not int or count < 0:
        raise DataError(f"a storage of {brief(count)} numbers")
    return _STORAGES[parts[1].name.removeprefix("torch.")], key, count


class _StorageReader:
    """`torch.storage._load_from_bytes`, for at most as many bytes as the file has."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def __call__(self, args: Arguments) -> StoredNumbers:
        if len(args) != 1 or type(args[0]) is not bytes:
            raise DataError("a storage of unknown form, expected bytes")
        self.left -= len(args[0])
        if self.left < 0:
            raise DataError("tensors that are read more than once")
        return StoredNumbers(decode_storage(args[0]))


def _make_tensor(args: Arguments) -> np.ndarray:
    """A view of a storage: arguments (storage, offset, size, stride, …)."""
    if len(args) not in (6, 7) or not isinstance(args[0], StoredNumbers):
        raise DataError("a tensor of unknown form, expected (storage, offset, size, stride, …)")
    values, (offset, size, stride) = args[0].values, args[1:4]
    if not (are_sizes((offset,)) and are_sizes(size) and are_sizes(stride) and len(size) == len(stride)):
        raise DataError(f"a tensor of offset, size and stride {_layout(args)}, expected whole numbers ≥ 0")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if not 0 < math.prod(size) <= values.size or last >= values.size:
        raise DataError(f"a tensor of offset, size and stride {_layout(args)} over {values.size} numbers")
    steps = [step * values.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False)


def _layout(args: Arguments) -> str:
    return ", ".join(map(brief, args[1:4]))


def _make_parameter(args: Arguments) -> np.ndarray:
    if len(args) != 3 or not isinstance(args[0], np.ndarray):
        raise DataError("a parameter of unknown form, expected (tensor, requires_grad, hooks)")
    return args[0]


def _make_record(args: Arguments) -> Record:
    meta = args[0] if len(args) == 1 else None
    if type(meta) is not dict or meta.get("type") != "class" or type(meta.get("class_name")) is not str:
        raise DataError("a persistent object of unknown form, expected a dict with 'type', 'class_name' and 'state'")
    if not meta["class_name"].isidentifier() or len(meta["class_name"]) > _LONGEST_NAME:
        raise DataError(f"a persistent object of class {brief(meta['class_name'])}, which is no name of a class")
    state = {} if meta.get("state") is None else meta["state"]
    if type(state) is not dict:
        raise DataError(f"a persistent object whose state is a {type(state).__name__}, expected a dict")
    return {"class_name": meta["class_name"], "state": state}


def _make_dict(args: Arguments) -> dict[object, object]:
    if args:
        raise DataError("a dnnlib.util.EasyDict with arguments, expected none")
    return {}


def _make_module(name: str) -> Callable[[Arguments], Draft]:
    def make(args: Arguments) -> Draft:
        if args:
            raise DataError(f"a torch.nn.{name} with arguments, expected none")
        return ModuleDraft(class_name=name)

    return make


def edm_table(limit: int) -> Table:
    """The globals of a file of `limit` bytes, each with a constructor of our own; for one file only."""
    rows: dict[tuple[str, str], Callable[[Arguments], object]] = {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _make_record,
        ("torch.storage", "_load_from_bytes"): _StorageReader(limit),
        ("torch._utils", "_rebuild_tensor_v2"): _make_tensor,
        ("torch._utils", "_rebuild_parameter"): _make_parameter,
        ("torch", "Size"): make_size,
        ("torch", "device"): make_device,
        ("dnnlib.util", "EasyDict"): _make_dict,
    }
    for module, names in _MODULES.items():
        for name in names:
            rows[f"torch.nn.modules.{module}", name] = _make_module(name)
    table = {key: Global(".".join(key), call) for key, call in rows.items()}
    dtypes = {("torch", name): Global(f"torch.{name}", text=f"torch.{name}") for name in _DTYPES}
    return {**PLAIN, **table, **dtypes}
