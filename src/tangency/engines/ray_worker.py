"""What runs in Ray's processes: a worker that does jobs one after another, and a look at what a node has."""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tangency.devices import resolve_device
from tangency.engines.carried import CarriedFolder, Changes, Version, free_bytes
from tangency.engines.contract import Job, Work
from tangency.engines.deaths import as_reported
from tangency.errors import TangencyError
from tangency.files import journal

PACKAGES = ("tangency", "torch", "numpy", "ray")
_OWN = "tangency-ray-"  # begins the names of own folders of workers; then host and number of the process
_PAUSE, _LONG_PAUSE = 0.05, 1.0  # seconds between reports of progress, at first and once a job has run for a while
_SHARE = 0.1  # of a job's time so far, that pass between reports: each costs the driver half a millisecond


@dataclass(frozen=True)
class WorkerSetting:
    """What a worker is told of the driver.

    Args:
        run: the run folder, absolute.
        token: name of a file that the driver wrote in it.
        folder: current one of the driver.
        environment: its variables of tangency; what a node itself says goes before.
        device: "auto", "cpu", "cuda" or "cuda:N".
        number: of the worker.
    """

    run: Path
    token: str
    folder: str
    environment: Mapping[str, str]
    device: str
    number: int

    def adopt(self) -> None:
        """Make this process see what the driver sees."""
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)
        with contextlib.suppress(OSError):
            os.chdir(self.folder)

    def shared(self) -> bool:
        """Whether this process sees the run folder and can write there."""
        return (self.run / self.token).exists() and os.access(self.run, os.W_OK)


@dataclass(frozen=True)
class NodeSeen:
    """What a node has.

    Args:
        host: its name.
        versions: of the packages that results depend on.
        data: digest of the data of the study as the node reads them.
        shared: whether it sees the run folder and can write there.
        free: bytes where its workers write.
        error: why the data cannot be read; "" where they can.
    """

    host: str
    versions: Mapping[str, str]
    shared: bool
    free: int
    data: str
    error: str = ""


def package_versions() -> dict[str, str]:
    """What runs here, by name."""
    from importlib.metadata import version

    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def look(work: Work, setting: WorkerSetting) -> NodeSeen:
    """What this node has; for a task on each of them."""
    setting.adopt()
    shared = setting.shared()
    free = free_bytes(setting.run if shared else Path(tempfile.gettempdir()))
    seen = NodeSeen(socket.gethostname(), package_versions(), shared, free, "")
    try:
        return replace(seen, data=work.data_digest())
    except TangencyError as error:
        return replace(seen, error=str(error))


@dataclass(frozen=True)
class News:
    """What a worker reports of its job: progress, the error that ended it, or that it is done; and the files it made
    since the last report, where the driver has to write them."""

    state: Literal["progress", "done", "error"]
    share: float = 0.0
    files: Changes | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class WorkerOpened:
    """That a worker is ready: where it is, in words, and whether it sees the run folder."""

    where: str
    shared: bool


class RayWorker:
    """A process of Ray's that does jobs, each in the same thread; its folder is the run's, or one of its own."""

    def __init__(self, work: Work, setting: WorkerSetting) -> None:
        setting.adopt()
        self._work, self._setting = work, setting
        self._shared = setting.shared()
        self._thread = ThreadPoolExecutor(1)
        self._carried = None if self._shared else CarriedFolder(_own_folder())
        self._reported = 0.0

    def open(self) -> WorkerOpened | Exception:
        """Get ready; or the error that the driver raises."""
        return self._thread.submit(self._open).result()

    def _open(self) -> WorkerOpened | Exception:
        journal("worker.start")
        import torch

        torch.set_num_threads(self._work.threads)
        folder = self._carried.folder if self._carried else self._setting.run
        try:
            device = resolve_device(self._setting.device, self._setting.number)
            self._do_job = self._work.open(folder, device)
        except Exception as error:  # the driver raises it
            return as_reported(error, Job("open", "begin to work", {}))
        return WorkerOpened(f"{socket.gethostname()}:{os.getpid()}", self._shared)

    def do(self, job: Job, files: Mapping[str, tuple[Version, list[Any]]]) -> Iterator[News]:
        """Do a job; the last report says that it is done, or why it is not.

        Args:
            job: what is to be done.
            files: that it reads or goes on from, where the driver has to send them: version and Ray's reference to
                the content, by path under the run folder.
        """
        reports: queue.SimpleQueue[News] = queue.SimpleQueue()
        # A job that leaves the interpreter ends its process, as it does with other engines.
        self._thread.submit(self._do, job, files, reports).add_done_callback(
            lambda done: done.exception() and os._exit(1)
        )
        while True:
            news = reports.get()
            yield news
            if news.state != "progress":
                return

    def _do(self, job: Job, files: Mapping[str, tuple[Version, list[Any]]], reports: queue.SimpleQueue[News]) -> None:
        begun = time.monotonic()

        def progress(share: float) -> None:
            now = time.monotonic()
            # Files come with reports: where they are carried, a report that is left out would be work at risk.
            longest = _PAUSE if self._carried else _LONG_PAUSE
            if now - self._reported < min(max(_PAUSE, _SHARE * (now - begun)), longest):
                return
            self._reported = now
            reports.put(News("progress", share, self._changes()))

        try:
            if self._carried:
                import ray

                wanted = {name: version for name, (version, _) in files.items()}
                self._carried.receive(wanted, job.outputs, lambda name: bytes(ray.get(files[name][1][0])))
            self._do_job(job.payload, progress)
            reports.put(News("done", 1.0, self._changes()))
        except Exception as error:  # the driver raises it
            reports.put(News("error", error=as_reported(error, job)))

    def tidy(self) -> None:
        """Remove the own folder: there is no more work."""
        if self._carried:
            shutil.rmtree(self._carried.folder, ignore_errors=True)

    def _changes(self) -> Changes | None:
        return self._carried.changes() if self._carried else None


def _own_folder() -> Path:
    """A fresh folder for this process; those that killed ones left on this host are removed."""
    import psutil

    own = f"{_OWN}{socket.gethostname()}-"
    for folder in Path(tempfile.gettempdir()).glob(f"{own}*"):
        number = folder.name.removeprefix(own).partition("-")[0]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{own}{os.getpid()}-"))
