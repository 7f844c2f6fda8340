"""A Slurm whose answers are made up, for tests of what the driver decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from simulated_work import SimulatedWork
from tangency.engines import EngineConfig, Event, Job
from tangency.engines import slurm as engine
from tangency.engines.queue import Pace, Queue
from tangency.engines.slurm import SlurmEngine, _Care, _PhaseWatch
from tangency.engines.slurm_control import Ending, SlurmState
from tangency.engines.slurm_jobs import SlurmWorker

PACE = Pace(poll=0.01, heartbeat=0.1, silence=0.0, hung=0.0, lease=900.0)
RUNS, GONE, WAITS = SlurmState("RUNNING", "n1"), SlurmState("CANCELLED"), SlurmState("PENDING")


@dataclasses.dataclass
class Cluster:
    """Slurm's answers, and what it was ordered to do."""

    known: dict[str, SlurmState] | None
    endings: dict[str, Ending] = dataclasses.field(default_factory=dict)
    submitted: list[int] = dataclasses.field(default_factory=list)
    asked: list[int] = dataclasses.field(default_factory=list)  # MB of each worker
    cancelled: list[str] = dataclasses.field(default_factory=list)
    folder: Path = Path("logs")

    def memory(self, needed: int) -> int:
        return needed // 1_000_000

    def submit(self, worker: SlurmWorker, number: int, memory: int) -> list[str]:
        self.submitted.append(number)
        self.asked.append(memory)
        first = 100 * len(self.submitted)
        return [f"{first}_{i}" for i in range(number)]

    def log(self, job: str) -> str:
        return f"the log of {job}"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster({})
    monkeypatch.setattr(engine, "states", lambda name: made.known)
    monkeypatch.setattr(engine, "ending", lambda job: made.endings.get(job, Ending("FAILED", "n1", 1)))
    monkeypatch.setattr(engine, "cancel", made.cancelled.extend)
    return made


def begin(run: Path, cluster: Cluster, jobs: list[Job]) -> tuple[Queue, _Care, _PhaseWatch, list[Event]]:
    queue, events = Queue(run, PACE), []
    care = _Care(queue, SlurmWorker.here(SimulatedWork(), run, "cpu", PACE), cluster, "tangency-test")
    care.publish(jobs)
    return queue, care, _PhaseWatch(queue, jobs, events.append), events


@pytest.fixture
def opened(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SlurmEngine]:
    """Makes an engine whose Slurm is made up, by its number of workers and options."""
    for name in ("_require_submitit", "check_commands", "time_limit"):
        monkeypatch.setattr(engine, name, lambda *_: None)
    monkeypatch.setattr(engine, "Submission", lambda *_: cluster)

    def make(workers: int = 2, **options: object) -> SlurmEngine:
        config = EngineConfig(kind="slurm", **options)
        return SlurmEngine(config, SimulatedWork(), tmp_path / "run", workers, "cpu", PACE)

    return make
