"""Several workers in one Slurm job, which share its GPU: a process each, kept going by the one that Slurm started."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

from tangency.engines.contract import ATTEMPTS
from tangency.engines.deaths import end_with_parent
from tangency.engines.serving import Leave, QueueWorker

_ENDING = 10.0  # seconds in which workers note what they leave, before their Slurm job is requeued


class WorkerGroup:
    """Workers in processes of their own; one that dies is started again, as no other node may take its job so soon.

    Args:
        workers: of the same queue, by different names.
    """

    def __init__(self, workers: Sequence[QueueWorker]) -> None:
        self._workers = workers
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, BaseProcess] = {}  # by number of the worker
        self._restarts = ATTEMPTS * len(workers)
        self._leaving = 0  # signal by which they were told to leave

    def serve(self) -> None:
        """Work until all have ended."""
        for number in range(len(self._workers)):
            self._start(number)
        while self._processes:
            wait([process.sentinel for process in self._processes.values()])
            for number, process in list(self._processes.items()):
                if process.exitcode is None:
                    continue
                del self._processes[number]
                if process.exitcode and self._restarts and not self._leaving:
                    self._restarts -= 1
                    self._start(number)

    def _start(self, number: int) -> None:
        process = self._context.Process(target=_serve, args=(self._workers[number],), daemon=True)
        process.start()
        self._processes[number] = process
        if self._leaving:  # the signal came while it was started
            self._pass_on(process)

    def _pass_on(self, process: BaseProcess) -> None:
        with contextlib.suppress(ProcessLookupError):
            if process.pid is not None:
                os.kill(process.pid, self._leaving)

    def leave(self, number: int) -> None:
        """Pass on a signal; before a requeue, wait until they have left their jobs."""
        self._leaving = number
        for process in list(self._processes.values()):
            self._pass_on(process)
        last = time.monotonic() + (_ENDING if number == signal.SIGUSR2 else 0.0)
        for process in list(self._processes.values()):
            process.join(max(0.0, last - time.monotonic()))


def _serve(worker: QueueWorker) -> None:
    """Body of a process. SIGTERM ends it at the next report of its job, USR2 at once."""

    def leave(number: int, frame: FrameType | None) -> None:
        worker.leaving = True

    def leave_at_once(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # it comes twice, from Slurm and from the group
        worker.leaving = True
        raise Leave

    end_with_parent()
    with contextlib.suppress(Leave):
        signal.signal(signal.SIGTERM, leave)
        signal.signal(signal.SIGUSR2, leave_at_once)
        worker.serve()
