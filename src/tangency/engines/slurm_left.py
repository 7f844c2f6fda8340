"""What of a run goes on in Slurm jobs after its driver is gone."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tangency.engines.queue import Queue
from tangency.engines.slurm_control import states
from tangency.files import is_locked, read_json


@dataclass(frozen=True)
class LeftTask:
    """A task that a Slurm job works on.

    Args:
        name, where: the task and its worker, in words.
        share: that is done.
    """

    name: str
    where: str
    share: float


@dataclass(frozen=True)
class SlurmLeft:
    """Slurm jobs that work on a run without a driver; the next one takes them up.

    Args:
        jobs: what each does, in words, by id: "runs on n1" or "waits"; "" where that is not known.
        done, tasks: how many of the tasks that they were given are done, and how many there are.
        running: tasks that they have.
        why: it is not known what they do, in words; "" where Slurm said it.
        later: whether Slurm may still say it.
    """

    jobs: dict[str, str]
    done: int
    tasks: int
    running: tuple[LeftTask, ...] = ()
    why: str = ""
    later: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def left_on_slurm(run: Path) -> SlurmLeft | None:
    """Slurm jobs that a driver which was killed has left; None where there are none, or a driver works on the run.

    Args:
        run: folder of the run.
    """
    queue = Queue(run)
    file, phase = queue.folder / "slurm.json", queue.phase()
    if phase is None or not file.exists() or is_locked(run):
        return None
    noted, why, later = read_json(file), "", True
    jobs = dict.fromkeys(noted["jobs"], "")
    if "name" not in noted:
        why, later = "an older version of tangency submitted them; `squeue --me` says what they do", False
    elif (known := states(noted["name"])) is not None:
        jobs = {job: f"runs on {s.node}" if s.runs else "waits" for job, s in known.items() if s.alive}
    elif shutil.which("squeue") is None:
        why, later = "there is no squeue on this machine; ask on one of the cluster", False
    else:
        why = "Slurm does not answer (squeue)"
    names = {job.id: job.name for job in phase.jobs}
    done = len(queue.names("done") & names.keys())
    reports = [r for r in queue.reports()[0] if r.slurm in jobs and r.job in names and not r.ended]
    doing = tuple(LeftTask(names[r.job], r.where, r.share) for r in reports)
    return SlurmLeft(jobs, done, len(names), doing, why, later) if jobs else None
