"""Worker processes on this machine: a job that loses its process is tried again, an orphaned worker ends itself."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tangency.devices import resolve_device
from tangency.engines.contract import ATTEMPTS, Engine, Event, Job, OnEvent, Progress, Work, most_costly_first
from tangency.engines.deaths import IMPORTED, as_reported, end_with_parent, refuse_daemon, unguarded, why
from tangency.errors import RunError
from tangency.files import journal

_PAUSE = 0.1  # seconds between reports of a worker on its job: small networks make hundreds of steps in a second

Message = tuple[str, Any]  # of a worker: "begun", "progress" with the share, "error" with what is raised, "done"


@dataclass
class _Worker:
    number: int
    process: BaseProcess
    connection: Connection
    job: Job | None = None
    begun: bool = False

    @property
    def where(self) -> str:
        return f"worker {self.number + 1}"


class LocalEngine(Engine):
    """Worker processes on this machine, started when there is work for them; devices are taken in turn.

    Args:
        work: what they do.
        run: folder that jobs read and write.
        workers: how many there are at most.
        device: "auto", "cpu", "cuda" or "cuda:N"; "auto" and "cuda" give each worker the next device.
    """

    def __init__(self, work: Work, run: Path, workers: int, device: str) -> None:
        self._work, self._run = work, run
        self._devices = [resolve_device(device, worker) for worker in range(workers)]
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._waiting: list[Job] = []
        self._attempts: dict[str, int] = {}

    def __enter__(self) -> LocalEngine:
        refuse_daemon()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(10)

    def _start(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._work, self._run, self._devices[number])
        process = self._context.Process(target=_serve, args=arguments, daemon=True)
        with _without_interrupts():
            process.start()
        theirs.close()
        return _Worker(number, process, ours)

    def do(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """Do all jobs, the most costly first; raises the first error of a job."""
        self._waiting, self._attempts = most_costly_first(jobs), {}
        while len(self._workers) < min(len(self._devices), len(jobs)):
            self._workers.append(self._start(len(self._workers)))
        for worker in self._workers:
            self._hand_out(worker, on_event)
        while any(worker.job for worker in self._workers):
            for ready in wait([worker.connection for worker in self._workers if worker.job]):
                self._take(next(worker for worker in self._workers if worker.connection is ready), on_event)

    def _take(self, worker: _Worker, on_event: OnEvent) -> None:
        """Act on the next message of a worker that has a job."""
        message, job = _receive(worker.connection), worker.job
        assert job is not None  # only workers with a job are waited for
        if message is None:
            self._replace(worker, job, on_event)
        elif message[0] == "begun":
            worker.begun = True
        elif message[0] == "progress":
            on_event(Event(job, "progress", message[1], worker.where))
        elif message[0] == "done":
            on_event(Event(job, "done", 1.0, worker.where))
            worker.job = None
            self._hand_out(worker, on_event)
        elif message[0] == "error":
            raise message[1]

    def _hand_out(self, worker: _Worker, on_event: OnEvent) -> None:
        if self._waiting:
            worker.job = self._waiting.pop(0)
            on_event(Event(worker.job, "running", 0.0, worker.where))
            with suppress(BrokenPipeError):  # a worker that just died is noticed when its end of the pipe closes
                worker.connection.send(worker.job)

    def _replace(self, dead: _Worker, job: Job, on_event: OnEvent) -> None:
        """A worker died: give its job to a fresh process."""
        dead.process.join()
        if dead.process.exitcode == IMPORTED:
            raise unguarded()
        reason = why(dead.process.exitcode, dead.begun)
        self._attempts[job.id] = self._attempts.get(job.id, 0) + 1
        if self._attempts[job.id] >= ATTEMPTS:
            raise RunError(
                f"task '{job.name}': its process died {ATTEMPTS} times, the last time {reason}. Finished work is kept: "
                "run the study again."
            )
        on_event(Event(job, "lost", 0.0, dead.where, reason))
        self._workers[dead.number] = self._start(dead.number)
        self._waiting.insert(0, job)
        self._hand_out(self._workers[dead.number], on_event)


def _receive(connection: Connection) -> Message | None:
    """The next message, or None where the process has ended."""
    try:
        message: Message = connection.recv()
    except (EOFError, OSError):  # also in the middle of a message
        return None
    return message


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C, which goes to all that a terminal started: the driver ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: a worker ignores it itself, once it runs
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, work: Work, run: Path, device: str) -> None:
    """Body of a worker process: jobs in, progress and outcomes out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    connection.send(("begun", None))
    journal("worker.start")
    import torch

    torch.set_num_threads(work.threads)
    do_job = work.open(run, device)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        try:
            do_job(job.payload, now_and_then(lambda share: connection.send(("progress", share))))
        except Exception as error:  # the driver raises it
            connection.send(("error", as_reported(error, job)))
        else:
            connection.send(("done", None))


def now_and_then(report: Progress) -> Progress:
    """The same reports, but for those that come too soon after the last one."""
    last = float("-inf")

    def advance(share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PAUSE:
            last = now
            report(share)

    return advance
