"""Checkpoints that `torch.save` wrote, read without running anything in them: the zip format and the one before it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tangency.errors import DataError, quoted
from tangency.formats.opening import read_bytes, recognised, refuse_foreign
from tangency.formats.plain import Inert
from tangency.formats.torch_records import TORCH, Storage, StorageName, storage_name
from tangency.formats.unpickle import MAX_BYTES, next_pickle

EXPECTED = "a checkpoint that torch.save wrote"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_SMALL_PICKLE = 1 << 16
_SPARE_BYTES = 1 << 20
_MOST_ENTRIES = 200_000
_KEY = re.compile(r"[0-9A-Za-z_]{1,64}")


def read_torch(path: Path | str) -> Any:
    """What a checkpoint holds: plain data, tensors on the CPU, and `Inert` things in place of everything else.

    Functions, schedules, optimisers and classes of other packages, pickled or dilled, are neither imported nor called.
    Tensors that lay on a GPU come to the CPU.

    Args:
        path: a file of `torch.save`, of any version since 0.1.10.

    Raises:
        DataError: another file, a truncated one, or one whose tensors do not lie within it.
    """
    path = Path(path)
    data = read_bytes(path, EXPECTED)
    if data[:4] != b"PK\x03\x04":
        refuse_foreign(data[:512], str(path), EXPECTED)
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: {len(data)} bytes, expected {EXPECTED} of at most {MAX_BYTES}.")
    if data[257:262] == b"ustar":
        raise DataError(f"{path}: this is a tar archive; expected {EXPECTED}. Unpack it and name the file inside.")
    if data[:2] != b"PK" and data[:1] != b"\x80":
        what = (
            "text" if data[:512].isascii() and data[:64].decode("ascii").strip().isprintable() else "of an unknown kind"
        )
        raise DataError(
            f"{path}: this is {what}, neither a zip archive nor a pickle; expected {EXPECTED}. Fetch it again."
        )
    try:
        return _with_text(_read_zip(data) if data[:2] == b"PK" else _read_old(data))
    except DataError as error:
        raise DataError(
            f"{path}: the file asks for or holds {quoted(error)}; expected {EXPECTED}. It was refused and nothing "
            "in it was run. Fetch it again, or save the tensors as safetensors where you trust it."
        ) from error
    except (ValueError, KeyError, OverflowError, MemoryError, EOFError) as error:
        reason = "its pickle is damaged" if isinstance(error, KeyError) else str(error)[:200] or "it ends early"
        raise DataError(f"{path}: not a whole checkpoint ({reason}), expected {EXPECTED}. Fetch it again.") from error


def _with_text(found: Any) -> Any:
    """The same with the names in the outer dict, and in those that it holds, as text: Python 2 wrote them as bytes."""
    if not isinstance(found, dict):
        return found
    return _named({key: _named(value) if isinstance(value, dict) else value for key, value in found.items()}, found)


def _named(held: dict[Any, Any], like: dict[Any, Any] | None = None) -> dict[Any, Any]:
    names = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in held.items()}
    return type(held if like is None else like)(names)


class _Storages:
    """Hands storages to the pickle; together they are no larger than the file."""

    def __init__(self, limit: int, read: Callable[[StorageName], torch.Tensor]) -> None:
        self.left = limit
        self.read = read
        self.made: dict[str, tuple[StorageName, torch.Tensor]] = {}

    def __call__(self, identity: object) -> Inert:
        named = storage_name(identity)
        if isinstance(named, Inert):
            return named
        if named.key not in self.made:
            self.left -= named.nbytes
            if self.left < 0:
                raise DataError("storages that together are larger than the file, which may be cut short")
            self.made[named.key] = (named, self.read(named))
        first, data = self.made[named.key]
        if first.nbytes != named.nbytes:
            raise DataError(f"storage '{named.key}' of {first.nbytes} bytes and of {named.nbytes}")
        if named.view is not None:
            offset, count = named.view
            data = data[offset * named.dtype.itemsize : (offset + count) * named.dtype.itemsize]
        return Storage("a bare storage", data=data, dtype=named.dtype)


def _read_zip(data: bytes) -> Any:
    """`NAME/data.pkl` and its storages `NAME/data/0`, …; nothing is extracted, nothing may be compressed."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"a damaged or truncated zip archive: {quoted(error)}") from error
    with archive:
        _refuse_programs(archive.namelist())
        entries = _checked_entries(archive, len(data))
        root = _root(entries)
        if entries.get(f"{root}byteorder") and _content(archive, f"{root}byteorder") != b"little":
            raise DataError("big-endian numbers")

        def read(named: StorageName) -> torch.Tensor:
            name = f"{root}data/{named.key}"
            if not _KEY.fullmatch(named.key) or name not in entries:
                raise DataError(f"a reference to a storage '{named.key[:64]}' that is not there")
            if entries[name].file_size != named.nbytes:
                raise DataError(f"a storage of {entries[name].file_size} bytes where {named.nbytes} are due")
            return _as_bytes(_content(archive, name))

        pickled = io.BytesIO(_content(archive, f"{root}data.pkl"))
        content = next_pickle(pickled, 2 * len(data) + _SPARE_BYTES, TORCH, _Storages(len(data), read), lenient=True)
        if pickled.read(1):
            raise DataError("bytes behind the end of its pickle")
    return content


def _checked_entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Entries by name, none of which can be larger than the file or lie elsewhere."""
    found: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if len(infos) > _MOST_ENTRIES:
        raise DataError(f"{len(infos)} entries, expected at most {_MOST_ENTRIES}")
    for info in infos:
        shown = info.filename[:80].encode("unicode_escape").decode()
        parts = info.filename.split("/")
        if info.filename.startswith("/") or ".." in parts or "\\" in info.filename:
            raise DataError(f"an entry that leads out of the archive, '{shown}'")
        if info.external_attr >> 28 == 0xA:
            raise DataError(f"a symbolic link, '{shown}'")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
            raise DataError(f"a compressed or encrypted entry, '{shown}', which torch does not write")
        if info.filename in found:
            raise DataError(f"two entries of the name '{shown}'")
        found[info.filename] = info
    if sum(info.file_size for info in infos) > size:
        raise DataError("entries that together are larger than the file")
    return found


def _refuse_programs(names: list[str]) -> None:
    """Raise where an archive holds a program in place of weights."""
    if any(re.fullmatch(r"[^/]*/?(archive_format|models/[^/]*\.json)", name) for name in names):
        raise DataError("a program of torch.export; load it as export:FILE with --trust-code, since its code runs")
    if any(re.fullmatch(r"[^/]+/(constants\.pkl|code/.*)", name) for name in names):
        raise DataError("a TorchScript program; load it as torchscript:FILE with --trust-code, since its code runs")


def _root(entries: dict[str, zipfile.ZipInfo]) -> str:
    """The folder that data.pkl lies in, with its slash."""
    roots = [name.removesuffix("data.pkl") for name in entries if re.fullmatch(r"([^/]*/)?data\.pkl", name)]
    if len(roots) != 1:
        raise DataError(f"{len(roots)} pickles named data.pkl in a zip archive, where one is due")
    return roots[0]


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"a damaged entry of the zip archive: {quoted(error)}") from error


def _as_bytes(content: bytes) -> torch.Tensor:
    """(n,) uint8, a copy."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _read_old(data: bytes) -> Any:
    """Five pickles in a row, then each storage as a count and its bytes."""
    stream = io.BytesIO(data)
    magic = next_pickle(stream, _SMALL_PICKLE, {}, lenient=True)
    if magic != _MAGIC:
        kind = recognised(data[:512]) or f"a pickle of a {type(magic).__name__} that torch.save did not write"
        raise DataError(kind)
    protocol, system = (next_pickle(stream, _SMALL_PICKLE, {}) for _ in range(2))
    if (
        protocol != _PROTOCOL
        or type(system) is not dict
        or True
        not in (
            system.get("little_endian"),
            system.get(b"little_endian"),
        )
    ):
        raise DataError("numbers that are not little-endian, or an unknown version of torch's old format")
    storages = _Storages(len(data), lambda named: torch.zeros(named.nbytes, dtype=torch.uint8))
    content = next_pickle(stream, 2 * len(data) + _SPARE_BYTES, TORCH, storages, lenient=True)
    keys = next_pickle(stream, 2 * len(data) + _SPARE_BYTES, {})
    names = [key.decode("latin1") if isinstance(key, bytes) else key for key in keys] if type(keys) is list else []
    if sorted(map(str, names)) != sorted(storages.made):
        raise DataError("other storages than its tensors refer to")
    for name in names:
        named, target = storages.made[name]
        count = int.from_bytes(stream.read(8), "little", signed=True)
        if count != named.count:
            raise DataError(f"a storage of {count} numbers where {named.count} are due")
        target.copy_(_as_bytes(_exactly(stream, named.nbytes)))
    if stream.read(1):
        raise DataError("bytes behind its last storage")
    return content


def _exactly(stream: io.BytesIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise ValueError(f"it ends {size - len(content)} bytes early")
    return content
