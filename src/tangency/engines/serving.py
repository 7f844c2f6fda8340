"""A worker of a queue: claims jobs one after the other, does them, and leaves when there is no more to do."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from tangency.devices import resolve_device
from tangency.engines.contract import ATTEMPTS, DoJob, Job, Work
from tangency.engines.deaths import as_reported
from tangency.engines.queue import Marker, Phase, Queue, QueuedJob, Report, driver_marker
from tangency.errors import RunError
from tangency.files import journal, write_json

if TYPE_CHECKING:
    from filelock import SoftFileLease

_RETRY = 5.0  # polls between tries of a job that another worker has


class Leave(BaseException):
    """A worker is to end, and its job to be taken up by another from its last checkpoint."""


class QueueWorker:
    """Does jobs of a queue in this process.

    Args:
        queue: of the run.
        work: what is done.
        identity: of the work; jobs of another one are not touched.
        device: "auto", "cpu", "cuda" or "cuda:N".
        report: name and place of this worker.
        number: of this worker; "auto" and "cuda" give each the next device that it sees.
    """

    def __init__(self, queue: Queue, work: Work, identity: str, device: str, report: Report, number: int = 0) -> None:
        self._queue, self._work, self._identity = queue, work, identity
        self._device, self._number = device, number
        self._report = report
        self._do_job: DoJob | None = None
        self._leases: dict[str, SoftFileLease] = {}  # of jobs that others have: each watches its claim
        self._tried: dict[str, float] = {}
        self._finished: set[str] = set()
        self._driver: tuple[Marker | None, float] = (None, time.monotonic())
        self.leaving = False  # set by a signal; the worker ends at the next report of its job

    def serve(self) -> None:
        """Do jobs until the queue is closed, or until there was nothing to do for a while."""
        self._queue.report(self._report)
        idle_since = time.monotonic()
        try:
            while not self.leaving:
                phase = self._queue.phase()
                if phase is None or phase.work != self._identity or phase.state != "open":
                    return
                if self._do_next(phase):
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > self._patience():
                    return
                else:
                    self._say(job="", share=0.0)
                    time.sleep(self._queue.pace.poll)
        except Leave:
            return
        finally:
            with contextlib.suppress(RunError):
                self._say(job="", share=0.0, ended=True)

    def _patience(self) -> float:
        """How long to wait idle: shorter once the driver is gone, as all jobs are then taken."""
        pace, marker, now = self._queue.pace, driver_marker(self._queue), time.monotonic()
        if marker != self._driver[0]:
            self._driver = marker, now
        return pace.linger if now - self._driver[1] < pace.driver else min(pace.linger, pace.driver)

    def _do_next(self, phase: Phase) -> bool:
        """Do the first job that can be claimed; False where there is none."""
        self._finished |= self._queue.finished()
        waiting = [job for job in phase.jobs if job.id not in self._finished]
        claimed = self._queue.names("claims")
        for job in sorted(waiting, key=lambda job: job.id in claimed):  # the others first, each in its order
            lease = self._claim(job, job.id in claimed)
            if lease is None:
                continue
            try:
                if self._queue.path("done", job.id).exists() or self._queue.path("failed", job.id).exists():
                    self._finished.add(job.id)
                    continue
                if self._queue.phase() is not phase:  # a new driver has forgotten what is done
                    return True
                self._do(job, lease)
            finally:
                lease.release()
            return True
        return False

    def _claim(self, job: QueuedJob, claimed: bool) -> SoftFileLease | None:
        from filelock import Timeout

        now = time.monotonic()
        if claimed and now - self._tried.get(job.id, -1e9) < _RETRY * self._queue.pace.poll:
            return None
        self._tried[job.id] = now
        lease = self._leases.setdefault(job.id, self._queue.lease(job.id))
        try:
            lease.acquire(timeout=0)
        except Timeout:
            return None
        return self._leases.pop(job.id)

    def _do(self, job: QueuedJob, lease: SoftFileLease) -> None:
        """Do a job whose claim is held; what it raises is its outcome."""
        lost, before = self._begin(job)
        if lost >= ATTEMPTS:
            text = f"task '{job.name}': its worker was lost {ATTEMPTS} times, the last time {before}."
            self._fail(job, RunError(f"{text} Finished work is kept: run the study again."))
            return
        self._say(job=job.id, share=0.0, lost=lost)
        print(f"begins '{job.name}' ({job.id})", flush=True)
        journal(f"claim:{job.id}")
        begun = time.monotonic()
        try:
            if self._do_job is None:
                self._do_job = self._open()
            self._do_job(job.payload, _Advance(self, lease))
        except Exception as error:  # the driver raises it
            self._fail(job, error)
        except BaseException:  # this worker is ended from outside, in good order: its job has lost nothing
            if lease.compromise is None:  # else it is another's already
                self._leave(job, lost)
            raise
        else:
            seconds = time.monotonic() - begun
            write_json(self._queue.path("done", job.id), {"where": self._report.where, "seconds": seconds})
            print(f"done '{job.name}' ({job.id}) in {seconds:.1f} s", flush=True)
        self._finished.add(job.id)

    def _open(self) -> DoJob:
        import torch

        torch.set_num_threads(self._work.threads)
        return self._work.open(self._queue.run, resolve_device(self._device, self._number))

    def _begin(self, job: QueuedJob) -> tuple[int, str]:
        """Note that a job begins: (how many workers it has lost, where the last one was)."""
        path = self._queue.path("begun", job.id)
        earlier: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        lost = earlier.get("lost", 0) + (bool(earlier) and not earlier["left"])
        write_json(path, {"lost": lost, "left": False, "where": self._report.where})
        return lost, earlier.get("where", "")

    def _leave(self, job: QueuedJob, lost: int) -> None:
        print(f"leaves '{job.name}' ({job.id}) to another worker", flush=True)
        with contextlib.suppress(RunError):
            write_json(self._queue.path("begun", job.id), {"lost": lost, "left": True, "where": self._report.where})

    def _fail(self, job: QueuedJob, error: Exception) -> None:
        known = as_reported(error, Job(job.id, job.name, job.payload))
        print(f"failed '{job.name}' ({job.id}): {known}", flush=True)
        content = {"kind": type(known).__name__, "text": str(known), "where": self._report.where}
        write_json(self._queue.path("failed", job.id), content)

    def _say(self, **changes: Any) -> None:
        report = dataclasses.replace(self._report, **changes)
        if report != self._report:
            self._report = report
            self._queue.report(report)

    def advance(self, share: float) -> None:
        """Report the progress of a job."""
        with contextlib.suppress(RunError):  # a full disk stops the job itself, at its next file
            self._say(share=round(share, 4))

    def stopped(self) -> bool:
        """Whether jobs are to be left where they are."""
        phase = self._queue.phase()
        return phase is None or phase.state == "stopped"

    @property
    def pause(self) -> float:
        """Seconds between reports."""
        return self._queue.pace.report


class _Advance:
    """Progress of a job: reported now and then, and where a job is left when its worker is to end."""

    def __init__(self, worker: QueueWorker, lease: SoftFileLease) -> None:
        self._worker, self._lease = worker, lease
        self._last = time.monotonic()

    def __call__(self, share: float) -> None:
        if self._worker.leaving or self._lease.compromise is not None:
            raise Leave
        if time.monotonic() - self._last >= self._worker.pause:
            self._last = time.monotonic()
            if self._worker.stopped():
                raise Leave
            self._worker.advance(share)


def versions() -> tuple[str, ...]:
    """Versions that results depend on."""
    numbers = [f"Python {sys.version_info.major}.{sys.version_info.minor}"]
    for name in ("tangency", "torch", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            numbers.append(f"{name} {version(name)}")
    return tuple(numbers)
