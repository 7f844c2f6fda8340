"""What the pickles of Karras et al. (2022) hold, as inert records: no class is looked up, no source code is run.

In the file a module is a call of `torch_utils.persistence._reconstruct_persistent_obj`, whose one argument, a dict,
holds the name of the class, the source code of its Python file, and the attributes. Here it becomes a dict of the name
and the attributes, and the source code is dropped unread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypedDict, TypeGuard

from tangency.errors import DataError
from tangency.formats.plain import Arguments, Draft, Global, Table, brief, without_arguments
from tangency.formats.torch_file import read_storage
from tangency.formats.torch_records import TORCH, Storage

_LONGEST_NAME = 100
_MODULES = {
    "container": ("ModuleDict", "ModuleList", "Sequential"),
    "linear": ("Identity", "Linear"),
    "conv": ("Conv2d",),
    "normalization": ("GroupNorm",),
    "activation": ("SiLU",),
    "dropout": ("Dropout",),
}


class ModuleRecord(TypedDict):
    """A module: the name of its class, and its attributes."""

    class_name: str
    state: dict[str, object]


@dataclass
class ModuleDraft(Draft):
    """A module of torch itself before its attributes are set."""

    class_name: str = ""

    def build(self, state: object) -> object:
        """The record of the attributes."""
        if type(state) is not dict:
            raise DataError(f"a torch module whose state is a {type(state).__name__}, expected a dict")
        return {"class_name": self.class_name, "state": state}


def is_record(value: object) -> TypeGuard[ModuleRecord]:
    """Whether `value` stands for a module."""
    return type(value) is dict and value.keys() == {"class_name", "state"}


class _StorageReader:
    """`torch.storage._load_from_bytes`, for at most as many bytes as the file has."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def __call__(self, args: Arguments) -> Storage:
        if len(args) != 1 or type(args[0]) is not bytes:
            raise DataError("a storage of unknown form, expected bytes")
        self.left -= len(args[0])
        if self.left < 0:
            raise DataError("tensors that are read more than once")
        return read_storage(args[0])


def _make_record(args: Arguments) -> ModuleRecord:
    meta = args[0] if len(args) == 1 else None
    if type(meta) is not dict or meta.get("type") != "class" or type(meta.get("class_name")) is not str:
        raise DataError("a persistent object of unknown form, expected a dict with 'type', 'class_name' and 'state'")
    if not meta["class_name"].isidentifier() or len(meta["class_name"]) > _LONGEST_NAME:
        raise DataError(f"a persistent object of class {brief(meta['class_name'])}, which is no name of a class")
    state = {} if meta.get("state") is None else meta["state"]
    if type(state) is not dict:
        raise DataError(f"a persistent object whose state is a {type(state).__name__}, expected a dict")
    return {"class_name": meta["class_name"], "state": state}


def edm_table(limit: int) -> Table:
    """The globals of a file of `limit` bytes, each with a constructor of our own; for one file only."""
    rows: dict[tuple[str, str], Callable[[Arguments], object]] = {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _make_record,
        ("torch.storage", "_load_from_bytes"): _StorageReader(limit),
        ("dnnlib.util", "EasyDict"): without_arguments("dnnlib.util.EasyDict", dict),
    }
    for module, names in _MODULES.items():
        for name in names:
            make = partial(ModuleDraft, class_name=name)
            rows[f"torch.nn.modules.{module}", name] = without_arguments(f"torch.nn.{name}", make)
    return {**TORCH, **{key: Global(".".join(key), call) for key, call in rows.items()}}
