"""Checkpoints that `torch.save` wrote, read without running anything in them: the zip format and the one before it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from tangency.errors import DataError, quoted
from tangency.formats.opening import read_bytes, recognised, refuse_foreign
from tangency.formats.plain import Inert, text_of
from tangency.formats.torch_records import TORCH, Storage, StorageName, storage_name
from tangency.formats.unpickle import MAX_BYTES, next_pickle

EXPECTED = "a checkpoint that torch.save wrote"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_SMALL_PICKLE = 1 << 16
_SPARE_BYTES = 1 << 20
_MOST_ENTRIES = 200_000
_KEY = re.compile(r"[0-9A-Za-z_]{1,64}")
Held = TypeVar("Held")


def read_torch(path: Path | str) -> object:
    """The content of a checkpoint: plain data, tensors on the CPU, and `Inert` objects in place of everything else.

    Functions, schedules, optimisers and classes of other packages, pickled or dilled, are neither imported nor called.
    Tensors of a GPU are read to the CPU.

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
        is_text = data[:512].isascii() and data[:64].decode("ascii").strip().isprintable()
        raise DataError(
            f"{path}: this is {'text' if is_text else 'of an unknown kind'}, neither a zip archive nor a pickle; "
            f"expected {EXPECTED}. Fetch it again."
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


def _with_text(content: object) -> object:
    """The content with text as names of the outer dict and of the dicts in it: Python 2 wrote them as bytes."""
    if not isinstance(content, dict):
        return content
    inner = {key: _named(value) if isinstance(value, dict) else value for key, value in content.items()}
    return type(content)(_named(inner))


def _named(held: dict[object, Held]) -> dict[object, Held]:
    return type(held)({text_of(key): value for key, value in held.items()})


class _Storages:
    """Gives storages to the pickle; together they are no larger than the file."""

    def __init__(self, limit: int, read: Callable[[StorageName], torch.Tensor]) -> None:
        self.limit = self.left = limit
        self.read = read
        self.made: dict[str, tuple[StorageName, torch.Tensor]] = {}

    def __call__(self, identity: object) -> Inert:
        name = storage_name(identity)
        if isinstance(name, Inert):
            return name
        if name.key not in self.made:
            self.left -= name.nbytes
            if self.left < 0:
                raise DataError("storages that together are larger than the file, which may be cut short")
            self.made[name.key] = (name, self.read(name))
        first, data = self.made[name.key]
        if first.nbytes != name.nbytes:
            raise DataError(f"storage '{name.key}' of {first.nbytes} bytes and of {name.nbytes}")
        if name.view is not None:
            offset, count = name.view
            data = data[offset * name.dtype.itemsize : (offset + count) * name.dtype.itemsize]
        return Storage("a bare storage", data=data, dtype=name.dtype)


def _read_zip(data: bytes) -> object:
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

        def read(name: StorageName) -> torch.Tensor:
            entry = f"{root}data/{name.key}"
            if not _KEY.fullmatch(name.key) or entry not in entries:
                raise DataError(f"a reference to a storage '{name.key[:64]}' that is not there")
            if entries[entry].file_size != name.nbytes:
                raise DataError(f"a storage of {entries[entry].file_size} bytes where {name.nbytes} are due")
            return _as_bytes(_content(archive, entry))

        pickled = io.BytesIO(_content(archive, f"{root}data.pkl"))
        content = next_pickle(pickled, 2 * len(data) + _SPARE_BYTES, TORCH, _Storages(len(data), read), lenient=True)
        if pickled.read(1):
            raise DataError("bytes behind the end of its pickle")
    return content


def _checked_entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Entries by name, none of which can be larger than the file or lie elsewhere."""
    entries: dict[str, zipfile.ZipInfo] = {}
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
        if info.filename in entries:
            raise DataError(f"two entries of the name '{shown}'")
        entries[info.filename] = info
    if sum(info.file_size for info in infos) > size:
        raise DataError("entries that together are larger than the file")
    return entries


def _refuse_programs(names: list[str]) -> None:
    """Raise where an archive holds a program instead of weights."""
    if any(re.fullmatch(r"[^/]*/?(archive_format|models/[^/]*\.json)", name) for name in names):
        raise DataError("a program of torch.export; load it as export:FILE with --trust-code, since its code runs")
    if any(re.fullmatch(r"[^/]+/(constants\.pkl|code/.*)", name) for name in names):
        raise DataError("a TorchScript program; load it as torchscript:FILE with --trust-code, since its code runs")


def _root(entries: dict[str, zipfile.ZipInfo]) -> str:
    """The folder of data.pkl, with its slash."""
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


def _read_old(data: bytes) -> object:
    """Five pickles in a row, then each storage as a count and its bytes."""
    stream = io.BytesIO(data)
    storages = _Storages(len(data), lambda name: torch.zeros(name.nbytes, dtype=torch.uint8))
    magic = next_pickle(stream, _SMALL_PICKLE, {}, lenient=True)
    if magic != _MAGIC:
        raise DataError(recognised(data[:512]) or f"a pickle of a {type(magic).__name__} that torch.save did not write")
    _check_version(stream)
    content = next_pickle(stream, 2 * len(data) + _SPARE_BYTES, TORCH, storages, lenient=True)
    _fill_storages(stream, storages)
    return content


def read_storage(data: bytes) -> Storage:
    """The storage in bytes that `torch.save` wrote in its old format, as inside the pickles of modules.

    Raises:
        DataError: other bytes; their content, in a few words.
    """
    stream, references = io.BytesIO(data), list[Inert]()
    storages = _Storages(len(data), lambda name: torch.zeros(name.nbytes, dtype=torch.uint8))
    try:
        if next_pickle(stream, _SMALL_PICKLE, {}) != _MAGIC:
            raise DataError("a pickle that torch.save did not write")
        _check_version(stream)
        next_pickle(stream, _SMALL_PICKLE, TORCH, lambda identity: references.append(storages(identity)))
        _fill_storages(stream, storages)
    except DataError as error:
        raise DataError(f"tensor bytes that ask for or hold {quoted(error)}") from error
    except (ValueError, KeyError, OverflowError, MemoryError) as error:
        raise DataError(f"tensor bytes that are not a storage in torch's old format ({str(error)[:200]})") from error
    if len(references) != 1 or not isinstance(references[0], Storage):
        raise DataError("tensor bytes that hold other than one storage")
    return references[0]


def _check_version(stream: io.BytesIO) -> None:
    """Read the two pickles of the old format that name its version and the machine."""
    protocol, system = (next_pickle(stream, _SMALL_PICKLE, {}) for _ in range(2))
    little = isinstance(system, dict) and True in (system.get("little_endian"), system.get(b"little_endian"))
    if protocol != _PROTOCOL or not little:
        raise DataError("numbers that are not little-endian, or an unknown version of torch's old format")


def _fill_storages(stream: io.BytesIO, storages: _Storages) -> None:
    """Read the storages behind the pickles of the old format: their names, then a count and the bytes of each."""
    keys = next_pickle(stream, 2 * storages.limit + _SPARE_BYTES, {})
    names = list(map(text_of, keys)) if type(keys) is list else []
    if sorted(map(str, names)) != sorted(storages.made):
        raise DataError("other storages than its tensors refer to")
    for name in names:
        storage, target = storages.made[str(name)]
        count = int.from_bytes(stream.read(8), "little", signed=True)
        if count != storage.count:
            raise DataError(f"a storage of {count} numbers where {storage.count} are due")
        content = stream.read(storage.nbytes)
        if len(content) != storage.nbytes:
            raise ValueError(f"it ends {storage.nbytes - len(content)} bytes early")
        target.copy_(_as_bytes(content))
    if stream.read(1):
        raise DataError("bytes after its last storage")
