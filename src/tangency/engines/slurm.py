"""A study on Slurm: workers that stay and take job after job from a folder; a driver that looks after them.

What has happened to a job is read from the queue; whether a worker is gone, from `squeue` and `scontrol` together with
the heartbeat of its claim. A killed driver ends nothing: the next one takes over what is done and who works.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tangency import errors
from tangency.engines.config import EngineConfig
from tangency.engines.contract import ATTEMPTS, Engine, Event, Job, OnEvent, Work
from tangency.engines.queue import Marker, Pace, Queue, Report
from tangency.engines.slurm_control import SlurmState, cancel, check_commands, ending, states, time_limit
from tangency.engines.slurm_jobs import SlurmWorker, Submission, full
from tangency.errors import RunError, TangencyError
from tangency.files import atomic, read_json, remove_leftovers, write_json

if TYPE_CHECKING:
    from filelock import SoftFileLease


class SlurmEngine(Engine):
    """Workers in Slurm jobs, submitted when there is work for them.

    Args:
        config: options of Slurm.
        work: what they do.
        run: folder that all nodes see.
        workers: how many there are at most; where they share GPUs, several of them in each Slurm job.
        device: of the workers: "auto", "cpu", "cuda" or "cuda:N".
        pace: how often and how long.
    """

    def __init__(
        self, config: EngineConfig, work: Work, run: Path, workers: int, device: str, pace: Pace | None = None
    ) -> None:
        run = run.absolute()
        self._queue = Queue(run, pace)
        # As many Slurm jobs as GPUs are wanted, all with the same number of workers, and no more workers than allowed.
        self._processes = workers // math.ceil(workers / config.sharing)
        self._jobs = workers // self._processes
        self._config, self._work, self._device = config, work, device
        self._name = f"tangency-{hashlib.sha256(str(run).encode()).hexdigest()[:12]}"
        self._lease: SoftFileLease | None = None
        self._care: _Care | None = None

    def __enter__(self) -> SlurmEngine:
        _require_submitit()
        check_commands()
        time_limit(self._config.partition)
        worker = SlurmWorker.here(self._work, self._queue.run, self._device, self._queue.pace, self._processes)
        if reason := full(self._queue.run):
            raise RunError(f"engine slurm: run '{self._queue.run}' {reason}")
        self._queue.folder.mkdir(parents=True, exist_ok=True)
        self._lease = self._queue.hold()
        try:
            self._care = self._begin(worker)
        except BaseException:
            self._lease.release()
            raise
        return self

    def _begin(self, worker: SlurmWorker) -> _Care:
        token = self._queue.folder / "token"
        if not token.exists():  # workers that an earlier driver submitted may still want theirs
            with atomic(token) as temporary:
                temporary.write_text(secrets.token_hex(8), encoding="utf-8")
        self._queue.renew(worker.identity)
        words = token.read_text(encoding="utf-8")
        submission = Submission(self._config, self._name, self._queue.folder / "slurm", words, self._work.threads)
        return _Care(self._queue, worker, submission, self._name)

    def __exit__(self, *error: object) -> None:
        """Idle workers end, busy ones leave their job at its next report; what still runs then is cancelled."""
        try:
            ended = self._care is not None and self._care.end("stopped" if any(error) else "closed")
            remove_leftovers(self._queue.run, nobody_else=ended)
        finally:
            if self._lease is not None:
                self._lease.release()

    def do(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """Do all jobs, the most costly first; raises the first error of a job."""
        assert self._care is not None  # since it is entered
        if not jobs:
            return
        self._care.publish(jobs)
        watch, last, pause = _PhaseWatch(self._queue, jobs, on_event), 0.0, 0.1
        while True:
            changed = watch.look()
            if changed:
                self._care.hope()
            if not watch.left:
                return
            if time.monotonic() - last >= self._queue.pace.ask or not last:
                self._care.look(min(self._jobs, math.ceil(watch.left / self._processes)), watch)
                last = time.monotonic()
            pause = 0.1 if changed else min(2 * pause, self._queue.pace.poll)
            time.sleep(pause)


class _PhaseWatch:
    """What happens to the jobs of a phase, from the files of the queue."""

    def __init__(self, queue: Queue, jobs: Sequence[Job], on_event: OnEvent) -> None:
        self._queue, self._on_event = queue, on_event
        self._jobs = {job.id: job for job in jobs}
        self._open = set(self._jobs)
        self._seen: dict[str, tuple[str, int, float]] = {}  # job: worker, workers lost, share

    @property
    def left(self) -> int:
        """How many jobs are not done."""
        return len(self._open)

    def look(self) -> bool:
        """Pass on what is new; whether work went on."""
        _, new = self._queue.reports()
        for report in new:
            self._take(report)
        for job in sorted(self._queue.names("failed") & self._open):
            raise _raised(read_json(self._queue.path("failed", job)))
        done = sorted(self._queue.names("done") & self._open)
        for job in done:
            self._open.discard(job)
            where = str(read_json(self._queue.path("done", job)).get("where", ""))
            self._on_event(Event(self._jobs[job], "done", 1.0, where))
        return bool(done) or any(report.share for report in new)

    def lost(self, job: str, where: str, why: str) -> None:
        """A job has lost its worker."""
        if job in self._open:
            worker, lost, _ = self._seen.get(job, ("", 0, 0.0))
            self._seen[job] = (worker, lost + 1, 0.0)
            self._on_event(Event(self._jobs[job], "lost", 0.0, where, why))

    def _take(self, report: Report) -> None:
        if report.job not in self._open:
            return
        job, (worker, lost, share) = self._jobs[report.job], self._seen.get(report.job, ("", 0, 0.0))
        if report.lost > lost:
            self._on_event(Event(job, "lost", 0.0, worker, "its worker ended without a word"))
        if report.where != worker or report.lost != lost:
            self._on_event(Event(job, "running", 0.0, report.where))
        elif report.share != share:
            self._on_event(Event(job, "progress", report.share, report.where))
        self._seen[report.job] = (report.where, report.lost, report.share)


class _Care:
    """The Slurm jobs that are the workers of a run: enough of them, and none that is lost unnoticed."""

    def __init__(self, queue: Queue, worker: SlurmWorker, submission: Submission, name: str) -> None:
        self._queue, self._worker, self._submission, self._name = queue, worker, submission, name
        self._file = queue.folder / "slurm.json"
        self._silence: dict[str, tuple[Marker, float]] = {}
        self._memory = 0  # MB that each worker has, where it was asked for
        self._ids = self._earlier()
        self._fruitless = 0  # workers submitted since anything went on

    def publish(self, jobs: Sequence[Job]) -> None:
        """Let workers claim jobs; those that have less memory than these need end first, and are replaced."""
        memory = self._submission.memory(max(job.resources.memory for job in jobs))
        if memory > self._memory:
            cancel(self._ids)
            self._memory = memory
        self._queue.publish(jobs, self._worker.identity)

    def hope(self) -> None:
        """Something went on."""
        self._fruitless = 0

    def look(self, wanted: int, watch: _PhaseWatch) -> None:
        """Ask Slurm: free the claims of workers that are gone, and submit as many as are missing.

        Args:
            wanted: how many Slurm jobs there is work for.
            watch: is to know what is lost.
        """
        known = states(self._name)
        if known is None:  # Slurm's controller is away: nothing can be decided
            return
        self._refuse(known)
        self._free(known, watch)
        alive = [job for job in self._ids if known.get(job, SlurmState("")).alive]
        stuck = [job for job in self._ids if known.get(job, SlurmState("")).held]
        cancel(stuck)
        missing = wanted - len(alive)
        if missing > 0:
            if self._fruitless >= ATTEMPTS * wanted:
                raise self._given_up()
            self._note(alive)  # before: the next driver is to know whose the workers are, even if this one dies now
            self._note(alive + self._submission.submit(self._worker, missing, self._memory))
            self._fruitless += missing

    def _note(self, ids: list[str]) -> None:
        self._ids = ids
        noted = {"work": self._worker.identity, "name": self._name, "jobs": ids, "memory": self._memory}
        write_json(self._file, noted)

    def end(self, state: Literal["closed", "stopped"]) -> bool:
        """Close the queue, wait until the workers have ended, and cancel those that have not; whether all have ended.

        Where nothing can be written, as on a full disk, they cannot be told, and are cancelled at once.
        """
        last = time.monotonic()
        with contextlib.suppress(RunError):
            self._queue.publish([], self._worker.identity, state)
            last += self._queue.pace.ending
        known = states(self._name) or {}
        cancel([job for job, state in known.items() if state.alive and not state.runs])
        while time.monotonic() < last and any(state.runs for state in (states(self._name) or {}).values()):
            time.sleep(min(1.0, self._queue.pace.poll))
        cancel(self._alive())
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
            self._queue.forget([report.worker for report in self._queue.reports()[0]])
        left = states(self._name)
        return left is not None and not any(state.alive for state in left.values())

    def _alive(self) -> list[str]:
        """Jobs that run or will; all that this driver knows where Slurm does not answer."""
        known = states(self._name)
        return self._ids if known is None else [job for job, state in known.items() if state.alive]

    def _earlier(self) -> list[str]:
        """Workers that an earlier driver of the same work left; those of another work end, or are cancelled."""
        known = states(self._name) or {}
        reports, _ = self._queue.reports()
        self._queue.forget([r.worker for r in reports if not known.get(r.slurm, SlurmState("")).runs])
        earlier: dict[str, Any] = read_json(self._file) if self._file.exists() else {"work": ""}
        if earlier["work"] == self._worker.identity:
            self._memory = earlier.get("memory", 0)  # none in what an older version noted
            return [job for job, state in known.items() if state.alive]
        cancel([job for job, state in known.items() if not state.runs])
        return []

    def _refuse(self, known: dict[str, SlurmState]) -> None:
        """Raise where a worker never began since its node does not see the folder, or has other packages."""
        reports, _ = self._queue.reports()
        begun = {report.slurm for report in reports}
        for job in self._ids:
            if job in begun or known.get(job, SlurmState("")).alive:
                continue
            end = ending(job)
            if end.unseen:
                raise RunError(
                    f"engine slurm: node '{end.node}' does not see the run folder '{self._queue.run}', expected one "
                    "that all nodes share; use --out on a shared file system."
                )
        for report in reports:
            if report.slurm in self._ids and report.unfit:
                raise RunError(f"engine slurm: {report.where} {report.unfit}")

    def _free(self, known: dict[str, SlurmState], watch: _PhaseWatch) -> None:
        """Free claims whose worker is gone and silent; cancel workers that run, by Slurm's word, and are silent."""
        reports, _ = self._queue.reports()
        holders = {report.job: report for report in reports if report.job and not report.ended}
        for job in self._queue.names("claims"):
            silent = self._silent(job)
            holder = holders.get(job)
            state = known.get(holder.slurm, SlurmState("")) if holder else SlurmState("")
            if state.runs:
                if holder and silent > self._queue.pace.hung:
                    cancel([holder.slurm])
            elif silent > self._queue.pace.silence and self._queue.claim_marker(job) == self._silence[job][0]:
                self._queue.lease(job).force_break()
                where = holder.where if holder else ""
                watch.lost(job, where, f"its Slurm job is {state.name.lower() or 'gone'}, and its heartbeat stopped")

    def _silent(self, job: str) -> float:
        """Seconds for which a claim was not touched, by the clock of this process."""
        marker, now = self._queue.claim_marker(job), time.monotonic()
        if marker is None:
            return 0.0
        if job not in self._silence or self._silence[job][0] != marker:
            self._silence[job] = marker, now
        return now - self._silence[job][1]

    def _given_up(self) -> RunError:
        job = self._ids[-1] if self._ids else ""
        words = self._submission.log(job)
        return RunError(
            f"engine slurm: {self._fruitless} workers ended and none did anything; the last one, Slurm job {job}, "
            f"says: {words or 'nothing'} (logs in '{self._submission.folder}'). Finished work is kept: run the study "
            "again."
        )


def _raised(content: dict[str, str]) -> Exception:
    """The error of a job, as its worker wrote it down."""
    kind = getattr(errors, content["kind"], None)
    if isinstance(kind, type) and issubclass(kind, TangencyError):
        return kind(content["text"])
    return RuntimeError(content["text"])


def _require_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise RunError(
            "engine slurm: the package submitit is missing; install it with: pip install 'tangency[slurm]'."
        ) from None
