"""Files that are either whole or absent: written under a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tangency.errors import RunError, quoted

_UNWRITTEN = ("(os error ", "Invalid thrift: transport error")  # how libraries quote a system that refuses to write
_UMASK = os.umask(0)
os.umask(_UMASK)
_FORSAKEN = 24 * 3600.0  # seconds after which nobody writes an untouched temporary file any more, wherever he was


def journal(point: str) -> None:
    """Mark a point of interest for fault injection; does nothing unless TANGENCY_JOURNAL names a file.

    Every point that any process reaches is appended to that file. With TANGENCY_KILL="pattern#n" the process that
    reaches a matching point as the n-th of all is killed, as by `kill -9`; with "pattern#n@driver" its parent is, too.
    The tests prove with it that no kill loses or doubles work.
    """
    path = os.environ.get("TANGENCY_JOURNAL")
    if not path:
        return
    with open(path, "a+", encoding="utf-8") as log:
        log.write(f"{point}\n")
        log.flush()
        log.seek(0)
        reached = log.read().splitlines()
    order = os.environ.get("TANGENCY_KILL", "")
    pattern, _, rest = order.partition("#")
    count, _, target = rest.partition("@")
    matching = fnmatch.fnmatch(point, pattern) and sum(fnmatch.fnmatch(line, pattern) for line in reached)
    if matching and matching == int(count):
        import psutil

        own = psutil.Process()
        driver = own.parent() if target == "driver" else None
        if driver is not None:
            driver.kill()
        own.kill()


def temporary_path(path: Path) -> Path:
    """A name beside `path` that holds host and number of this process, and letters that no other call has."""
    return path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def _host() -> str:
    """Eight letters that stand for where process numbers are this process's own: a host, or a container on it."""
    space = ""
    with contextlib.suppress(OSError):  # containers of one host may share its name
        space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it into place, else remove it.

    The temporary name is this call's own: no two writers on any machines share a file.

    Raises:
        RunError: the system refuses to write (a full disk, a folder that is read-only, a folder in the file's place).
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.chmod(temporary, 0o666 & ~_UMASK)  # some writers make files that only their owner can read
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            journal(f"rename:{path.name}")
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(NotADirectoryError):
                temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except Exception as error:
        # safetensors and polars report a full disk as an error of their own that quotes the system's.
        if not isinstance(error, OSError) and not any(words in str(error) for words in _UNWRITTEN):
            raise
        reason = error.strerror if isinstance(error, OSError) else None
        raise RunError(
            f"'{path}': cannot be written ({reason or error}). What was written before is whole; free some space, or "
            "make the folder writable, and run again."
        ) from error


def _sync(folder: Path) -> None:
    """Make a rename in a folder last."""
    try:
        directory = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders; its own journal keeps the order of renames
        return
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def locked(folder: Path, what: str, keep: bool = False) -> Iterator[None]:
    """Hold a folder alone, which is made where there is none; the lock dies with the process, however it dies.

    Args:
        folder: that is held.
        what: it is, for errors ("run 'runs/a'").
        keep: whether the file `.lock` surely stays in it.

    Raises:
        RunError: another process holds it, or nothing can be written there.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0.5, preserve_lock_file=keep)
        lock.acquire()
    except Timeout:
        raise RunError(f"{what}: another process is working on it; wait for it, or use another --out.") from None
    except OSError as error:
        raise RunError(f"{what}: cannot be written ({error.strerror}); use --out.") from None
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # the error that is raised matters more than what is left
            if not keep and [path.name for path in folder.iterdir()] == [".lock"]:  # nothing was written
                (folder / ".lock").unlink()
                folder.rmdir()
                folder.parent.rmdir()
        raise
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process holds a folder; looking takes the lock for a moment, which `locked` waits for."""
    from filelock import FileLock, Timeout

    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0, preserve_lock_file=True):
            return False
    except (Timeout, OSError):
        return True


def write_json(path: Path | str, content: Any) -> None:
    """Write JSON atomically; NaN and infinity are refused, as strict readers refuse them too."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """A JSON file of a run, or a `RunError` that says what is wrong with it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"run '{path.parent}': {path.name} is missing; run the study first.") from None
    except (OSError, ValueError) as error:
        raise RunError(f"'{path}': unreadable ({quoted(error)}); delete it and run the study again.") from None


def remove_leftovers(folder: Path, names: Sequence[str] = (), nobody_else: bool = False) -> None:
    """Delete temporary files that a killed process left under a folder.

    A process of another host cannot be asked for: what it wrote is deleted once it was not touched for a day.

    Args:
        folder: that is searched, with all below it.
        names: files in the folder itself whose temporary ones alone are meant; all where none is named.
        nobody_else: whether surely no process of another host is alive that writes here.
    """
    own = [path for name in names for path in folder.glob(f".{name}.*.tmp")]
    for leftover in own if names else folder.rglob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):  # renamed in the meantime
            if _ended(leftover.name, nobody_else) or time.time() - leftover.stat().st_mtime > _FORSAKEN:
                leftover.unlink(missing_ok=True)


def _ended(temporary: str, otherwise: bool) -> bool:
    """Whether the process of this host that wrote a temporary file has ended; `otherwise` of another host's."""
    import psutil

    host, number = ["", "", *temporary.split(".")[:-2]][-2:]
    if host != _host() or not number.isdigit():
        return otherwise
    try:
        return bool(psutil.Process(int(number)).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def file_digest(path: Path) -> str:
    """SHA-256 of a file, or of the JSON and safetensors files under a folder."""
    files = sorted(p for p in path.rglob("*") if p.suffix in (".json", ".safetensors")) if path.is_dir() else [path]
    digest = hashlib.sha256(str(path).encode() if path.is_dir() else b"")
    for file in files:
        try:
            with open(file, "rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
        except OSError as error:
            raise RunError(f"'{file}': cannot be read ({error.strerror}).") from None
    return digest.hexdigest()


def location_digests(location: str) -> list[str]:
    """SHA-256 of a file, or of every file under a folder with its name; none where a location names neither."""
    path = Path(location).expanduser()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [f"{f.name} {file_digest(f)}" for f in files if f.is_file()] if location else []


@contextlib.contextmanager
def polars_errors() -> Iterator[None]:
    """Polars' panics, as over some damaged files, are errors of polars as its others are."""
    import polars

    try:
        yield
    except polars.exceptions.PanicException as error:
        raise polars.exceptions.ComputeError(str(error)[:200]) from error


def is_whole(path: Path, columns: Sequence[str], images: Sequence[int] = ()) -> bool:
    """Whether a Parquet file is there, has these columns, and each of its pages can be read.

    A damaged page is noticed only when it is read: the footer of such a file is fine.

    Args:
        path: of the file.
        columns: that it must have.
        images: where given, it must have one row for each of them.
    """
    import polars

    try:
        with polars_errors():
            table = polars.read_parquet(path, use_statistics=False)
    except (OSError, polars.exceptions.PolarsError):
        return False
    if not set(columns) <= set(table.columns):
        return False
    return not len(images) or table["image"].sort().to_list() == sorted(images)
