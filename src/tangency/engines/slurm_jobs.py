"""Workers of a queue as jobs of Slurm, which submitit submits and requeues."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
import pickle
import shlex
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tangency.engines.carried import LEAST_FREE, free_bytes
from tangency.engines.config import EngineConfig
from tangency.engines.contract import Work
from tangency.engines.queue import Pace, Queue, Report
from tangency.engines.serving import Leave, QueueWorker, versions
from tangency.engines.slurm_control import UNSEEN, memory_given, time_limit
from tangency.engines.slurm_group import WorkerGroup
from tangency.errors import RunError, TangencyError, listed, quoted

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

ARRAY = 1000  # jobs of an array at most, as clusters bound it
_TIME = 24 * 60  # minutes of a job where neither user nor partition limit it
_WARNING, _SHARE = 90, 15  # seconds before that limit when USR2 is sent: at most, and for each minute of it
_MARGIN, _UNKNOWN = 1.5, 4000  # times what tasks need; MB of a worker of whose tasks nothing is known
_MEMORY = ("mem", "mem_per_cpu", "mem_per_gpu")  # options of sbatch
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
        processes: that work side by side in each Slurm job.
        identity: of all this; a driver takes up the workers of an earlier one that has the same.
    """

    work: Work
    run: Path
    device: str
    pace: Pace
    versions: tuple[str, ...]
    data: str
    processes: int = 1
    identity: str = ""

    @classmethod
    def here(cls, work: Work, run: Path, device: str, pace: Pace, processes: int = 1) -> SlurmWorker:
        """A worker that has what this process has."""
        worker = cls(work, run, device, pace, versions(), work.data_digest(), processes)
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
        first = int(place.array_task_id or 0) * self.processes
        workers = [self._worker(queue, report, first + i, i + 1) for i in range(self.processes)]
        if len(workers) > 1:
            group = WorkerGroup(workers)
            _handle_signals(group.leave)
            with contextlib.suppress(Leave):
                group.serve()
        else:
            _handle_signals(lambda _: setattr(workers[0], "leaving", True))
            workers[0].serve()

    def _worker(self, queue: Queue, report: Report, number: int, place: int) -> QueueWorker:
        """One of those in this Slurm job, by its place among them."""
        if self.processes > 1:
            name, where = f"{report.worker}-{place}", f"{report.where}, worker {place}"
            report = dataclasses.replace(report, worker=name, where=where)
        return QueueWorker(queue, self.work, self.identity, self.device, report, number)

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


def _handle_signals(leave: Callable[[int], None]) -> None:
    """SIGTERM ends workers at the next report of their job; USR2 at once, and submitit requeues their Slurm job."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        leave(number)

    requeue: Any = signal.getsignal(signal.SIGUSR2)

    def leave_at_once(number: int, frame: FrameType | None) -> None:
        leave(number)
        with contextlib.suppress(Exception):  # where Slurm refuses to requeue, the driver submits another job
            requeue(number, frame)  # raises SystemExit
        raise Leave

    signal.signal(signal.SIGTERM, pass_on)
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

    def memory(self, needed: int) -> int:
        """MB that each worker asks for; 0 for nothing, where the cluster allocates none, or has a default of its own.

        What the user says holds, then what tasks need with half as much again. Where nothing is known and Slurm would
        give a job all memory of its node, so that a node had one job, it is 4 GB.

        Args:
            needed: bytes that the largest task takes; 0 where it is not known.
        """
        if self.config.mem:
            return round(1000 * self.config.mem)
        if any(key.replace("-", "_") in _MEMORY for key in self.config.sbatch):
            return 0
        given = memory_given(self.config.partition)
        if given == "nothing":
            return 0
        return math.ceil(_MARGIN * needed / 1e6) or (_UNKNOWN if given == "node" else 0)

    def submit(self, worker: SlurmWorker, number: int, memory: int) -> list[str]:
        """Submit jobs in arrays: their ids.

        Args:
            worker: what each of them does.
            number: of jobs.
            memory: MB for each of its processes; 0 for none that is asked for.

        Raises:
            RunError: Slurm refuses.
        """
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = SlurmExecutor(self.folder, max_num_timeout=_REQUEUES)
        executor.update_parameters(**self.parameters(worker.processes, memory))
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

    def parameters(self, processes: int, memory: int) -> dict[str, Any]:
        """Of sbatch, as submitit names them; of a job of some processes that ask for so many MB each."""
        config = self.config
        limit = time_limit(config.partition)
        token, cores = shlex.quote(str(self.folder.parent / "token")), processes * max(1, self.threads)
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
        if memory:
            parameters["mem"] = f"{processes * memory}MB"
        if config.gpus_per_task:
            parameters["gpus_per_node"] = math.ceil(config.gpus_per_task)
        return parameters
