"""Jobs in a folder that all workers see: published whole, claimed by leases, their outcomes one file each.

    queue/jobs.json        jobs of a phase, the most costly first; whose work they are, and whether workers go on
    queue/driver.lock      lease of the driver
    queue/claims/ID.lock   lease of the worker that does a job: touched as long as its process lives
    queue/begun/ID.json    how many workers a job has lost
    queue/done/ID.json     a job that is done
    queue/failed/ID.json   the error of a job
    queue/workers/*.json   what each worker does, and how far it is

A lease of a process that has ended is free at once on its own host. From another host it is free when the driver, which
asks the cluster, removes it, or when it was not touched for `Pace.lease` seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tangency.engines.contract import Job, most_costly_first
from tangency.errors import RunError
from tangency.files import atomic, write_json

if TYPE_CHECKING:
    from filelock import SoftFileLease

_ALIVE, _DISMISSAL = 3.0, 30.0  # heartbeats: silence of a claim that is alive, and how long workers may take to end
Marker = tuple[int, int]  # inode and time of change of a file: another one where it was touched or replaced


@dataclass(frozen=True)
class Pace:
    """How often and how long, in seconds.

    Args:
        poll: between looks into the queue, of workers and driver.
        heartbeat: between touches of a lease.
        report: between reports of a worker on the progress of its job, at least.
        ask: between questions to the cluster.
        silence: of a claim whose worker is gone by the cluster's word, until it is taken for lost.
        hung: silence of a claim whose worker runs by the cluster's word, until that worker is cancelled.
        lease: silence of a claim after which another worker takes it, whatever the cluster says.
        driver: silence of the driver after which it is gone.
        linger: how long a worker waits that has nothing to do.
        ending: how long the driver waits for its workers to end themselves.
    """

    poll: float = 1.0
    heartbeat: float = 10.0
    report: float = 5.0
    ask: float = 15.0
    silence: float = 30.0
    hung: float = 600.0
    lease: float = 900.0
    driver: float = 45.0
    linger: float = 120.0
    ending: float = 15.0


@dataclass(frozen=True)
class QueuedJob:
    """What a worker has to know of a job."""

    id: str
    name: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Phase:
    """Jobs that can be claimed.

    Args:
        work: identity of the work that they belong to; a worker of another work ends.
        state: "open"; "closed", when workers end after their job; or "stopped", when they end at its next report.
        jobs: in the order in which they are begun.
    """

    work: str
    state: Literal["open", "closed", "stopped"]
    jobs: tuple[QueuedJob, ...]


@dataclass(frozen=True)
class Report:
    """What a worker does.

    Args:
        worker: its name, that of the file.
        where: it runs, in words.
        slurm: id of its Slurm job, where it has one.
        job: id of the job that it does; "" for none.
        lost: how many workers that job had lost before.
        share: of the job that is done.
        ended: whether the worker has left.
        unfit: why it cannot work where it is, as with other data; "" for nothing.
    """

    worker: str
    where: str
    slurm: str = ""
    job: str = ""
    lost: int = 0
    share: float = 0.0
    ended: bool = False
    unfit: str = ""


class Queue:
    """The folder `queue` of a run.

    Args:
        run: folder of the run.
        pace: the same for all that use this queue.
    """

    def __init__(self, run: Path, pace: Pace | None = None) -> None:
        self.run, self.folder, self.pace = run, run / "queue", pace or Pace()
        self._phase: tuple[Marker, Phase] | None = None
        self._reports: dict[str, tuple[Marker, Report]] = {}

    def renew(self, work: str) -> None:
        """Forget jobs and outcomes of earlier drivers: what they made stands, and is not asked for again.

        The jobs go first: else a worker could do those again whose outcomes are gone.
        """
        self.publish([], work)
        for name in ("done", "failed", "begun"):
            for path in (self.folder / name).glob("*.json"):
                path.unlink(missing_ok=True)

    def publish(self, jobs: Sequence[Job], work: str, state: Literal["open", "closed", "stopped"] = "open") -> None:
        """Put the jobs of a phase in the place of the last one's."""
        for name in ("claims", "begun", "done", "failed", "workers"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        rows = [{"id": j.id, "name": j.name, "payload": dict(j.payload)} for j in most_costly_first(jobs)]
        write_json(self.folder / "jobs.json", {"work": work, "state": state, "jobs": rows})

    def phase(self) -> Phase | None:
        """The jobs that are published; read again only where they changed."""
        with contextlib.suppress(FileNotFoundError), open(self.folder / "jobs.json", encoding="utf-8") as file:
            marker = _marker(os.fstat(file.fileno()))
            if self._phase is None or self._phase[0] != marker:
                content = json.load(file)
                jobs = tuple(QueuedJob(**row) for row in content["jobs"])
                self._phase = marker, Phase(content["work"], content["state"], jobs)
            return self._phase[1]
        return None

    def lease(self, job: str) -> SoftFileLease:
        """The claim of a job; not yet acquired."""
        return self._lease(self.folder / "claims" / f"{job}.lock", self.pace.lease)

    def driver_lease(self) -> SoftFileLease:
        """The lease of the driver; not yet acquired."""
        return self._lease(self.folder / "driver.lock", self.pace.driver)

    def _lease(self, path: Path, duration: float) -> SoftFileLease:
        from filelock import SoftFileLease

        path.parent.mkdir(parents=True, exist_ok=True)
        return SoftFileLease(path, lease_duration=duration, heartbeat_interval=self.pace.heartbeat)

    def hold(self) -> SoftFileLease:
        """Be the driver of this queue.

        Raises:
            RunError: another one is alive. One that is gone is waited for, until its lease ends.
        """
        from filelock import Timeout

        lease, first = self.driver_lease(), driver_marker(self)
        while True:
            try:
                lease.acquire(timeout=0)
            except Timeout:
                if driver_marker(self) not in (first, None):
                    raise RunError(
                        f"run '{self.run}': another process is working on it, {_owner(lease)}; wait for it, or use "
                        "another --out."
                    ) from None
                time.sleep(self.pace.poll)
            else:
                return lease

    def finished(self) -> set[str]:
        """Jobs that are done or that failed."""
        return self.names("done") | self.names("failed")

    def names(self, kind: str) -> set[str]:
        """Jobs that have a file of this kind: "done", "failed", "claims" or "begun"."""
        try:
            names = os.listdir(self.folder / kind)
        except FileNotFoundError:
            return set()
        return {name.rpartition(".")[0] for name in names if not name.startswith(".")}

    def path(self, kind: str, job: str) -> Path:
        """File of a job."""
        return self.folder / kind / f"{job}.json"

    def claim_marker(self, job: str) -> Marker | None:
        """Changes with each touch of a claim; None where there is no claim."""
        return _marker_of(self.folder / "claims" / f"{job}.lock")

    def report(self, report: Report) -> None:
        """Say what a worker does."""
        write_json(self.folder / "workers" / f"{report.worker}.json", asdict(report))

    def reports(self) -> tuple[list[Report], list[Report]]:
        """(last report of every worker, those that are new since the last call)."""
        new, folder = [], self.folder / "workers"
        for path in folder.glob("*.json"):
            marker = _marker_of(path)
            if marker is not None and self._reports.get(path.stem, (None,))[0] != marker:
                with contextlib.suppress(FileNotFoundError):
                    report = Report(**json.loads(path.read_text(encoding="utf-8")))
                    self._reports[path.stem] = marker, report
                    new.append(report)
        return [report for _, report in self._reports.values()], new

    def forget(self, workers: Iterable[str]) -> None:
        """Remove the reports of workers that are gone."""
        for name in workers:
            (self.folder / "workers" / f"{name}.json").unlink(missing_ok=True)
            self._reports.pop(name, None)


def busy(run: Path, pace: Pace | None = None) -> bool:
    """Whether workers of an earlier driver still do jobs of a run; by the clock of the file system."""
    queue = Queue(run, pace)
    claims = [*(queue.folder / "claims").glob("*.lock")]
    if not claims:
        return False
    with atomic(queue.folder / ".clock") as clock:
        clock.touch()
        now = clock.stat().st_mtime
    ages = [now - path.stat().st_mtime for path in claims if path.exists()]
    return any(age < _ALIVE * queue.pace.heartbeat for age in ages)


def dismiss(run: Path, pace: Pace | None = None) -> None:
    """End the workers that an earlier driver left, before others do their work.

    Raises:
        RunError: they do not end.
    """
    queue = Queue(run, pace)
    phase = queue.phase()
    if phase is None:
        return
    if phase.state != "stopped":
        queue.publish([], phase.work, "stopped")
    last = time.monotonic() + _DISMISSAL * queue.pace.heartbeat
    while busy(run, queue.pace):
        if time.monotonic() > last:
            raise RunError(
                f"run '{run}': workers of Slurm still work on it, and do not end; cancel them (squeue --me, scancel), "
                "then run the study again."
            )
        time.sleep(queue.pace.poll)


def driver_marker(queue: Queue) -> Marker | None:
    """Changes as long as the driver lives; None where there is none."""
    return _marker_of(queue.folder / "driver.lock")


def _marker(status: os.stat_result) -> Marker:
    return status.st_ino, status.st_mtime_ns


def _marker_of(path: Path) -> Marker | None:
    try:
        return _marker(path.stat())
    except FileNotFoundError:
        return None


def _owner(lease: SoftFileLease) -> str:
    owner = lease.owner
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "which just began"
