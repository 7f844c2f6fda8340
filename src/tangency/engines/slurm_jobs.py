"""Workers of a queue as jobs of Slurm, which submitit submits and requeues."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pickle
import shlex
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tangency.engines.carried import LEAST_FREE, free_bytes
from tangency.engines.config import EngineConfig
from tangency.engines.contract import Work
from tangency.engines.queue import Pace, Queue, Report
from tangency.engines.serving import Leave, QueueWorker, versions
from tangency.engines.slurm_control import UNSEEN, time_limit
from tangency.errors import RunError, TangencyError, listed, quoted

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

ARRAY = 1000  # jobs of an array at most, as clusters bound it
_TIME = 24 * 60  # minutes of a job where neither user nor partition limit it
_WARNING, _SHARE = 90, 15  # seconds before that limit when USR2 is sent: at most, and for each minute of it
_REQUEUES = 10_000  # how often submitit may requeue a job whose time is over: as often as it takes


def full(run: Path) -> str:
    """Why too little can be written in a run folder, which need not be there yet; "" for no reason."""
    free = free_bytes(next(folder for folder in (run, *run.parents) if folder.exists()))
    if free >= LEAST_FREE:
        return ""
    return f"has {free >> 20} MB free, expected {LEAST_FREE >> 20} MB at least; free some space, or use another --out."


@dataclass(frozen=True)
class SlurmWorker:
    """What submitit runs in each Slurm job; on USR2 it is requeued, and goes on where its job was checkpointed.

    Args:
        work: what is done.
        run: folder of the run.
        device: of the worker.
        pace: of the queue.
        versions: that it must have, as the driver has them.
        data: digest that its data must have.
        identity: of all this; a driver takes up the workers of an earlier one that has the same.
    """

    work: Work
    run: Path
    device: str
    pace: Pace
    versions: tuple[str, ...]
    data: str

    identity: str = ""

    @classmethod
    def here(cls, work: Work, run: Path, device: str, pace: Pace) -> SlurmWorker:
        """A worker that has what this process has."""
        worker = cls(work, run, device, pace, versions(), work.data_digest())
        return dataclasses.replace(worker, identity=hashlib.sha256(pickle.dumps(worker)).hexdigest()[:16])

    def __call__(self) -> None:
        from submitit import JobEnvironment

        place = JobEnvironment()
        node = os.environ.get("SLURMD_NODENAME", place.hostname)
        report = Report(f"slurm-{place.job_id}", f"Slurm job {place.job_id} on {node}", place.job_id)
        queue = Queue(self.run, self.pace)
        if reason := self.unfit():
            queue.report(dataclasses.replace(report, unfit=reason, ended=True))
            return
        number = int(place.array_task_id or 0)
        worker = QueueWorker(queue, self.work, self.identity, self.device, report, number)
        _handle_signals(worker)
        worker.serve()

    def unfit(self) -> str:
        """Why results of this node could differ, or nothing could be made; "" for no reason."""
        if (own := versions()) != self.versions:
            return (
                f"has {listed(own)}, expected {listed(self.versions)} as here; install the same versions on all nodes."
            )
        try:
            data = self.work.data_digest()
        except TangencyError as error:
            return f"cannot read the data: {quoted(error)}"
        if data != self.data:
            return "has other data than this machine, expected the same files; copy them, or set TANGENCY_DATA there."
        return full(self.run)

    def checkpoint(self) -> DelayedSubmission:
        """What a requeued job runs: the same, since its work is checkpointed in the run folder."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)


def _handle_signals(worker: QueueWorker) -> None:
    """SIGTERM ends a worker at the next report of its job; USR2 at once, and submitit requeues its Slurm job."""

    def leave(number: int, frame: FrameType | None) -> None:
        worker.leaving = True

    requeue: Any = signal.getsignal(signal.SIGUSR2)

    def leave_at_once(number: int, frame: FrameType | None) -> None:
        worker.leaving = True
        with contextlib.suppress(Exception):  # where Slurm refuses to requeue, the driver submits another job
            requeue(number, frame)  # raises SystemExit
        raise Leave

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGUSR2, leave_at_once)


@dataclass(frozen=True)
class Submission:
    """How workers are submitted.

    Args:
        config: partition, time and other options.
        name: of the jobs.
        folder: for submitit's files and the logs.
        token: that nodes must read in `folder/../token`.
        threads: of a worker.
    """

    config: EngineConfig
    name: str
    folder: Path
    token: str
    threads: int

    def submit(self, worker: SlurmWorker, number: int) -> list[str]:
        """Submit workers in arrays: their job ids.

        Raises:
            RunError: Slurm refuses.
        """
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = SlurmExecutor(self.folder, max_num_timeout=_REQUEUES)
        executor.update_parameters(**self.parameters())
        ids: list[str] = []
        while len(ids) < number:
            size = min(number - len(ids), ARRAY)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    with executor.batch():
                        jobs = [executor.submit(worker) for _ in range(size)]
                ids += [job.job_id for job in jobs]
            except (FailedJobError, FailedSubmissionError, OSError) as error:
                raise RunError(f"engine slurm: sbatch refuses the workers ({quoted(error)}).") from error
        return ids

    def log(self, job: str) -> str:
        """The last lines of a job's log."""
        with contextlib.suppress(OSError):
            lines = (self.folder / f"{job}_0_log.err").read_text(encoding="utf-8", errors="replace").splitlines()
            return " ".join(line.strip() for line in lines[-3:])[-300:]
        return ""

    def parameters(self) -> dict[str, Any]:
        """Of sbatch, as submitit names them."""
        config = self.config
        limit = time_limit(config.partition)
        token, cores = shlex.quote(str(self.folder.parent / "token")), max(1, self.threads)
        more: dict[str, Any] = {"requeue": True, **config.sbatch}
        time = config.time or min(limit or _TIME, _TIME)
        parameters: dict[str, Any] = {
            "job_name": self.name,
            "time": time,
            "signal_delay_s": min(_WARNING, _SHARE * time),
            "cpus_per_task": cores,
            "srun_args": [f"--cpus-per-task={cores}"],  # since Slurm 22.05 srun does not take it from sbatch
            "array_parallelism": ARRAY,
            "setup": [f'[ "$(cat {token} 2>/dev/null)" = {self.token} ] || exit {UNSEEN}'],
            "additional_parameters": more,
        }
        if config.partition:
            parameters["partition"] = config.partition
        if config.account:
            parameters["account"] = config.account
        if config.mem:
            parameters["mem"] = f"{round(config.mem * 1000)}MB"
        if config.gpus_per_task:
            parameters["gpus_per_node"] = int(config.gpus_per_task)
        return parameters
