"""Files of jobs for workers that do not see the run folder: what goes there, and what comes back as it changes."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tangency.files import atomic

Version = tuple[int, int, int]  # when a file was changed, in ns, its size, and its number in the file system
Changes = dict[str, bytes | None]  # content by path under the run folder, in the order of making; None where it is gone
LEAST_FREE = 100 << 20  # bytes without which no worker begins
_TEMPORARY = ".*.tmp"  # what `tangency.files.atomic` has not finished


def versions(run: Path, names: Iterable[str]) -> dict[str, Version]:
    """The files among these files and folders that are there, by path under the run folder; the oldest first."""
    changed: dict[str, tuple[int, Version]] = {}
    for name in names:
        top = run / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            try:
                state = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if path.is_dir() or fnmatch.fnmatch(path.name, _TEMPORARY):
                continue
            key = (state.st_mtime_ns, state.st_size, state.st_ino)
            # The time of the rename: what marks work as finished is renamed after what it speaks of.
            changed[path.relative_to(run).as_posix()] = (state.st_ctime_ns, key)
    return {name: key for name, (_, key) in sorted(changed.items(), key=lambda item: item[1][0])}


def write_changes(run: Path, changes: Changes) -> None:
    """Bring what a worker made into the run folder, each file whole, in the order in which it was made."""
    for name, content in changes.items():
        if content is None:
            (run / name).unlink(missing_ok=True)
            continue
        with atomic(run / name) as temporary:
            temporary.write_bytes(content)


@dataclass
class CarriedFolder:
    """A folder of a worker's own that holds what its present job reads and makes, and nothing else.

    Args:
        folder: that stands for the run folder.
    """

    folder: Path
    _held: dict[str, Version] = field(default_factory=dict)  # as the run folder has them
    _sent: dict[str, Version] = field(default_factory=dict)  # as they are here
    _made: tuple[str, ...] = ()

    def receive(self, files: Mapping[str, Version], outputs: tuple[str, ...], read: Callable[[str], bytes]) -> None:
        """Make the folder hold these files.

        Args:
            files: version in the run folder by path.
            outputs: files or folders that the job makes.
            read: the content of one of them.
        """
        for path in [path for path in self.folder.rglob("*") if not path.is_dir()]:
            name = path.relative_to(self.folder).as_posix()
            if name not in files or self._held.get(name) != files[name]:
                path.unlink()
        for name in files:
            if not (self.folder / name).exists():
                with atomic(self.folder / name) as temporary:
                    temporary.write_bytes(read(name))
        self._held, self._made = dict(files), outputs
        self._sent = versions(self.folder, outputs)

    def changes(self) -> Changes:
        """What the job made, changed or removed since it was last asked for; call it while the job writes nothing."""
        now = versions(self.folder, self._made)
        changed: Changes = {n: (self.folder / n).read_bytes() for n, key in now.items() if self._sent.get(n) != key}
        gone = [name for name in self._sent if name not in now]
        for name in [*changed, *gone]:
            self._held.pop(name, None)  # the run folder will have it in a version of its own
        self._sent = now
        return changed | dict.fromkeys(gone)


def free_bytes(folder: Path) -> int:
    """What is free where a folder is."""
    return shutil.disk_usage(folder).free
