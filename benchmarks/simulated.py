"""Work for engines that needs no data: jobs of many small steps that sleep, or that compute a fixed amount."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.engines import DoJob, Job, Progress

SIZE = 256  # of the matrices that are multiplied


@dataclass(frozen=True)
class Simulated:
    """Jobs of steps; each job is a line of a log: worker, begin and end (seconds of the epoch), seconds in its steps.

    Args:
        log: file that all workers see.
        compute: whether steps multiply matrices, the same number each; else they sleep.
        threads: of a worker.
    """

    log: str
    compute: bool = False
    threads: int = 1

    def data_digest(self) -> str:
        """There are no data."""
        return ""

    def open(self, run: Path, device: str) -> DoJob:
        """Does jobs whose payload has the number of `steps` and the `size` of each: seconds, or products."""

        def do(payload: Mapping[str, Any], progress: Progress) -> None:
            began, busy = time.time(), 0.0
            for step in range(payload["steps"]):
                busy += self._step(payload["size"])
                progress((step + 1) / payload["steps"])
            self._note(f"{socket.gethostname()}:{os.getpid()} {began} {time.time()} {busy}")

        return do

    def _step(self, size: float) -> float:
        """Seconds that a step takes, of this process's wall time."""
        started = time.perf_counter()
        if self.compute:
            import torch  # not by the driver

            matrix = torch.ones(SIZE, SIZE)
            for _ in range(int(size)):
                matrix = matrix @ matrix * (1 / SIZE)
        else:
            time.sleep(size)
        return time.perf_counter() - started

    def _note(self, line: str) -> None:
        """Append to the log, in one write."""
        handle = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{line}\n".encode())
        os.close(handle)


def simulated_jobs(count: int, steps: int, size: float) -> list[Job]:
    """Jobs that are all alike."""
    return [Job(f"job-{i}", f"simulate {i}", {"steps": steps, "size": size}) for i in range(count)]


@dataclass(frozen=True)
class Span:
    """What a worker did, from the begin of its first job to the end of its last one.

    Args:
        begin, end: in seconds of the epoch.
        busy: seconds in the steps of its jobs.
    """

    begin: float
    end: float
    busy: float


def spans(log: Path) -> dict[str, Span]:
    """What each worker did."""
    found: dict[str, Span] = {}
    for line in log.read_text().splitlines():
        worker, *numbers = line.split()
        begin, end, busy = map(float, numbers)
        old = found.get(worker, Span(begin, end, 0.0))
        found[worker] = Span(min(old.begin, begin), max(old.end, end), old.busy + busy)
    return found
