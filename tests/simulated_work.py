"""Work that sleeps and writes a file; workers import it from this folder."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tangency.engines import DoJob, Job, Progress
from tangency.engines.queue import Pace, Queue, Report
from tangency.engines.serving import QueueWorker
from tangency.errors import DataError
from tangency.files import read_json, write_json

BRISK = Pace(heartbeat=1.0, report=0.5, ask=2.0, silence=5.0, driver=10.0, linger=20.0)  # for a Slurm on this machine


@dataclass(frozen=True)
class SimulatedWork:
    """Steps of `seconds` each, checkpointed after each; a line in `log` for every step, and the whole at the end."""

    threads: int = 1
    data: str = ""  # file whose content is the data

    def data_digest(self) -> str:
        """Its content."""
        return Path(self.data).read_text() if self.data else ""

    def open(self, run: Path, device: str) -> DoJob:
        """Does payloads {"name", "steps", "seconds", "error"}."""

        def do_job(payload: Mapping[str, Any], progress: Progress) -> None:
            name, steps = payload["name"], payload["steps"]
            assert torch.device(device).type in ("cpu", "cuda"), device  # resolved: no "auto"
            if payload.get("error") == "data":
                raise DataError(f"{name}: no such data.")
            if payload.get("error"):
                raise ValueError(f"{name} has a defect")
            if payload.get("die"):
                os.kill(os.getpid(), 9)
            checkpoint = run / f"{name}.step"
            begin = read_json(checkpoint) if checkpoint.exists() else 0
            for step in range(begin, steps):
                time.sleep(payload["seconds"])
                with open(run / "log", "a") as log:
                    log.write(f"{name} {step}\n")
                write_json(checkpoint, step + 1)
                progress((step + 1) / steps)
            (run / name).write_text(f"{name} of {steps} steps\n")
            with open(run / "log", "a") as log:
                log.write(f"{name} done\n")

        return do_job


def simulated(name: str, steps: int = 2, seconds: float = 0.05, cost: float = 1.0, **more: Any) -> Job:
    """A job of simulated work."""
    payload = {"name": name, "steps": steps, "seconds": seconds, **more}
    return Job(f"job-{name}", f"job {name}", payload, cost, (), (name,))


def lines(run: Path, ending: str = "") -> list[str]:
    """Lines of the log that end with some words."""
    path = run / "log"
    return [line for line in path.read_text().splitlines() if line.endswith(ending)] if path.exists() else []


def worker(run: Path, pace: Pace, name: str = "") -> QueueWorker:
    """A worker of a queue in this process."""
    name = name or f"worker-{os.getpid()}"
    return QueueWorker(Queue(run, pace), SimulatedWork(), "simulated", "auto", Report(name, name))


if __name__ == "__main__":
    worker(Path(sys.argv[1]), Pace(**json.loads(sys.argv[2]))).serve()
