"""What is going on, in a file that anybody may read: jobs done, running and lost, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tangency.engines.contract import Engine, Event, Job
from tangency.files import read_json, write_json

_PAUSE = 1.0  # seconds between two writings at least


@dataclass(frozen=True)
class RunningJob:
    """A job that a worker has.

    Args:
        name, where: the job and its worker, in words.
        share: that is done.
        since: when it was begun, in seconds of the epoch.
    """

    name: str
    where: str
    share: float
    since: float


@dataclass(frozen=True)
class LostJob:
    """A job whose worker ended, and that was tried again.

    Args:
        name, where, why: the job, its worker and what happened, in words.
    """

    name: str
    where: str
    why: str


@dataclass(frozen=True)
class Going:
    """How a phase of a run goes on.

    Args:
        phase: its name.
        jobs, done: how many there are, and are done.
        share: of the phase that is done, by cost.
        left: seconds until its end, as it looks; None where nothing is known yet.
        running: what workers have.
        lost: what was lost in the whole run.
        written: when this was so, in seconds of the epoch.
        dashboard: URL of the engine's own display; "" for none.
    """

    phase: str
    jobs: int
    done: int
    share: float
    left: float | None
    running: tuple[RunningJob, ...] = ()
    lost: tuple[LostJob, ...] = ()
    written: float = 0.0
    dashboard: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def read_going(path: Path) -> Going | None:
    """What a run said last of how it goes on; None where it said nothing."""
    if not path.exists():
        return None
    content = read_json(path)
    running = tuple(RunningJob(**each) for each in content.pop("running"))
    lost = tuple(LostJob(**each) for each in content.pop("lost"))
    return Going(**content, running=running, lost=lost)


@dataclass
class Bulletin:
    """Collects the events of a run, and writes how it goes on.

    Args:
        path: of the file.
        engine: that does the jobs.
    """

    path: Path
    engine: Engine | None = None
    _phase: str = ""
    _jobs: Sequence[Job] = ()
    _running: dict[str, RunningJob] = field(default_factory=dict)
    _lost: list[LostJob] = field(default_factory=list)
    _done: set[str] = field(default_factory=set)
    _began: float = 0.0
    _written: float = 0.0

    def begin(self, phase: str, jobs: Sequence[Job]) -> None:
        """A phase begins."""
        self._phase, self._jobs, self._began = phase, jobs, time.time()
        self._running, self._done = {}, set()
        self.write()

    def take(self, event: Event) -> None:
        """Something happened to a job of this phase."""
        job = event.job
        before = self._running.pop(job.id, None)
        if event.state == "done":
            self._done.add(job.id)
        elif event.state == "lost":
            self._lost.append(LostJob(job.name, event.where, event.why))
        else:
            since = before.since if before and before.where == event.where else time.time()
            self._running[job.id] = RunningJob(job.name, event.where, event.share, since)
        if time.time() - self._written >= _PAUSE:
            self.write()

    def going(self) -> Going:
        """How it goes on now."""
        now, whole = time.time(), sum(job.cost for job in self._jobs)
        shares = {key: job.share for key, job in self._running.items()} | dict.fromkeys(self._done, 1.0)
        share = sum(job.cost * shares.get(job.id, 0.0) for job in self._jobs) / whole if whole else 1.0
        left = (now - self._began) * (1 - share) / share if share > 0 else None
        running, lost = tuple(self._running.values()), tuple(self._lost)
        dashboard = self.engine.dashboard if self.engine else ""
        return Going(self._phase, len(self._jobs), len(self._done), share, left, running, lost, now, dashboard)

    def write(self) -> None:
        """Write the file, whole."""
        write_json(self.path, self.going().to_json())
        self._written = time.time()
