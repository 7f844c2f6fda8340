"""Files that are either whole or absent: written under a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_reached: Counter[str] = Counter()


def journal(point: str) -> None:
    """Mark a point of interest for fault injection; does nothing unless TANGENCY_JOURNAL names a file.

    Every point reached is appended to that file. TANGENCY_KILL="point#n" kills this process, as `kill -9` would,
    the n-th time that it reaches the point: the tests prove with it that no kill loses or doubles work.
    """
    path = os.environ.get("TANGENCY_JOURNAL")
    if not path:
        return
    _reached[point] += 1
    with open(path, "a") as log:
        log.write(f"{os.getpid()} {point}#{_reached[point]}\n")
        log.flush()
        os.fsync(log.fileno())
    if os.environ.get("TANGENCY_KILL") == f"{point}#{_reached[point]}":
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it into place, else remove it.

    The temporary name holds the process number, so two processes never write the same file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        journal(f"rename:{path.name}")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path | str, content: Any) -> None:
    """Write JSON atomically; NaN and infinity are refused, as strict readers refuse them too."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left under `folder`."""
    for leftover in folder.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)
