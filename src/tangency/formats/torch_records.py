"""The globals that the pickle of a torch checkpoint may use: storages, tensors over them, and nothing that runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeGuard

import torch
from torch import Tensor

from tangency.errors import DataError
from tangency.formats.plain import PLAIN, Arguments, Global, Inert, Table, brief, text_of

_MOST_AXES = 64
_STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
# The last ones are named only by `_rebuild_tensor_v3`, for an untyped storage.
_UNTYPED = (torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2)
_DTYPES = {str(dtype): dtype for dtype in (*_STORAGES.values(), *_UNTYPED)}


@dataclass(eq=False)
class Storage(Inert):
    """The bytes that tensors are views of.

    Args:
        data: (bytes,) uint8 on the CPU, even where the file names another device.
        dtype: of its elements.
    """

    data: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    dtype: torch.dtype = torch.uint8


@dataclass(frozen=True)
class StorageName:
    """A reference of the pickle to a storage outside of it.

    Args:
        key: its name in the file.
        dtype: of its elements.
        count: number of elements.
        view: (offset, count) of a part, in elements; None for the whole.
    """

    key: str
    dtype: torch.dtype
    count: int
    view: tuple[int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.count * self.dtype.itemsize


def storage_name(identity: object) -> StorageName | Inert:
    """The storage of ("storage", type, key, place, count[, view]); a module's source code becomes inert, unread."""
    parts = tuple(map(text_of, identity)) if type(identity) is tuple else ()
    if parts[:1] == ("module",) and len(parts) == 4:
        return parts[1] if isinstance(parts[1], Inert) else Inert("module")
    if len(parts) not in (5, 6) or parts[0] != "storage" or not isinstance(parts[1], Global):
        raise DataError(f"a reference of unknown form, {brief(identity)}")
    dtype = _STORAGES.get(parts[1].name.rpartition(".")[2])
    key, count, view = parts[2], parts[4], parts[5] if len(parts) == 6 else None
    if dtype is None or not isinstance(key, str) or not isinstance(count, int) or not _are_sizes((count,)):
        raise DataError(f"a storage of {brief(count)} numbers of {parts[1].name} under {brief(key)}")
    return StorageName(key, dtype, count, None if view is None else _view(view, count))


def _view(view: object, count: int) -> tuple[int, int]:
    """(offset, count) of (key, offset, count), within a storage of `count` elements."""
    parts = view[1:] if type(view) is tuple and len(view) == 3 else ()
    if not _are_sizes(parts) or len(parts) != 2 or sum(parts) > count:
        raise DataError(f"a view of a storage of unknown form, {brief(view)}")
    return parts[0], parts[1]


def _are_sizes(value: object) -> TypeGuard[tuple[int, ...]]:
    """Whether a value is a tuple of few whole numbers, as sizes and strides are."""
    return type(value) is tuple and len(value) <= _MOST_AXES and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _make_tensor(args: Arguments, dtype: torch.dtype | None = None) -> Tensor:
    """A view of a storage: arguments (storage, offset, size, stride, …), each checked against the storage's end."""
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise DataError("a tensor of unknown form, expected (storage, offset, size, stride, …)")
    storage, (offset, size, stride) = args[0], args[1:4]
    shown = ", ".join(map(brief, (offset, size, stride)))
    if not (_are_sizes((offset,)) and _are_sizes(size) and _are_sizes(stride) and len(size) == len(stride)):
        raise DataError(f"a tensor of offset, size and stride {shown}, expected whole numbers ≥ 0")
    dtype = dtype or storage.dtype
    count = len(storage.data) // dtype.itemsize
    elements = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if elements > count or (elements and last >= count) or (not elements and max(size) > count + 2**31):
        raise DataError(f"a tensor of offset, size and stride {shown} over {count} numbers")
    values = storage.data[: count * dtype.itemsize].view(dtype)
    return values.as_strided(size, stride, offset) if elements else torch.empty(size, dtype=dtype)


def _make_tensor_of_dtype(args: Arguments) -> Tensor:
    """`_rebuild_tensor_v3`, (storage, offset, size, stride, requires_grad, hooks, dtype, …)."""
    dtype = _DTYPES.get(args[6]) if len(args) > 6 and isinstance(args[6], str) else None
    if dtype is None:
        raise DataError(f"a tensor of {brief(args[6]) if len(args) > 6 else 'no'} dtype, expected one of torch's")
    return _make_tensor(args, dtype)


def _make_parameter(args: Arguments) -> object:
    if not args or not isinstance(args[0], Tensor | Inert):
        raise DataError("a parameter of unknown form, expected (tensor, requires_grad, hooks)")
    return args[0]


def _make_from_type(args: Arguments) -> object:
    """`_rebuild_from_type_v2`, (function, type, arguments, state): a tensor with attributes, which are dropped."""
    if len(args) != 4 or type(args[2]) is not tuple or not isinstance(args[0], Global | Inert):
        raise DataError("a tensor with attributes of unknown form, expected (function, type, arguments, state)")
    function = args[0]
    if isinstance(function, Inert) or function.call is None:
        return Inert(function.name)
    return function.call(args[2])


def _make_size(args: Arguments) -> tuple[int, ...]:
    """A torch.Size as a tuple."""
    size = tuple(args[0]) if len(args) == 1 and type(args[0]) in (list, tuple) else None
    if not _are_sizes(size):
        raise DataError("a torch.Size of unknown form, expected whole numbers")
    return size


def _make_device(args: Arguments) -> str:
    """A torch.device as its name."""
    if not 1 <= len(args) <= 2 or type(args[0]) is not str or any(type(part) is not int for part in args[1:]):
        raise DataError("a torch.device of unknown form, expected a name and a number")
    return ":".join(map(str, args))


_ROWS: dict[tuple[str, str], Callable[[Arguments], object] | None] = {
    ("torch._utils", "_rebuild_tensor"): _make_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _make_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _make_tensor_of_dtype,
    ("torch._utils", "_rebuild_parameter"): _make_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _make_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _make_from_type,
    ("torch", "Size"): _make_size,
    ("torch", "device"): _make_device,
    **{("torch", name): None for name in _STORAGES},
    **{("torch.cuda", name): None for name in _STORAGES},
    ("torch.storage", "UntypedStorage"): None,
}
TORCH: Table = {
    **PLAIN,
    **{key: Global(".".join(key), call) for key, call in _ROWS.items()},
    **{("torch", name.removeprefix("torch.")): Global(name, text=name) for name in _DTYPES},
}
