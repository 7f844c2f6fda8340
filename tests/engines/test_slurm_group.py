"""Several workers in one Slurm job: one that dies is started again, and all leave together; without a Slurm."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import simulated_work
from processes import Processes, members, until
from simulated_work import lines, simulated
from tangency.engines.queue import Pace, Queue

pytestmark = pytest.mark.processes
PACE = "Pace(poll=0.05, heartbeat=0.2, report=0.05, lease=30.0, driver=1.0, linger=0.3)"
REQUEUED = 7
SCRIPT = f"""
import signal, sys
sys.path.insert(0, {str(Path(simulated_work.__file__).parent)!r})
from pathlib import Path
from simulated_work import worker
from tangency.engines.queue import Pace
from tangency.engines.slurm_group import WorkerGroup
from tangency.engines.slurm_jobs import _handle_signals
signal.signal(signal.SIGUSR2, lambda *_: sys.exit({REQUEUED}))  # as submitit does once the job is requeued
group = WorkerGroup([worker(Path(sys.argv[1]), {PACE}, name) for name in ("one", "two")])
_handle_signals(group.leave)
group.serve()
"""


def start(processes: Processes, run: Path) -> tuple[Queue, subprocess.Popen, list[psutil.Process]]:
    """A group that works on two jobs: the queue, the process that Slurm would start, and the workers."""
    queue = Queue(run, Pace(poll=0.05, heartbeat=0.2, lease=30.0))
    queue.publish([simulated("a", steps=60), simulated("b", steps=60)], "simulated")
    group = processes.start([sys.executable, "-c", SCRIPT, str(run)], {"OMP_NUM_THREADS": "1"})
    until(lambda: {"a 1", "b 1"} <= set(lines(run)) or group.poll() is not None, "both work")
    return queue, group, children(group)


def children(group: subprocess.Popen) -> list[psutil.Process]:
    """Its workers that are alive."""
    alive = []
    for child in psutil.Process(group.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie, too
            if "spawn_main" in " ".join(child.cmdline()):
                alive.append(child)
    return alive


def begun(queue: Queue) -> list[tuple[int, bool]]:
    """Workers that each job has lost, and whether it was left in good order."""
    notes = [json.loads(queue.path("begun", name).read_text()) for name in ("job-a", "job-b")]
    return sorted((note["lost"], note["left"]) for note in notes)


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_goes_on_with_its_job(tmp_path: Path, processes: Processes) -> None:
    queue, group, workers = start(processes, tmp_path)
    assert len(workers) == 2
    workers[0].kill()
    until(lambda: group.poll() is not None or set(children(group)) - set(workers), "another one is started")
    assert group.poll() is None
    assert processes.codes(group) == [0]
    assert queue.names("done") == {"job-a", "job-b"}
    assert begun(queue) == [(0, False), (1, False)]  # the other one was not disturbed
    assert len(set(lines(tmp_path))) == 122
    assert len(lines(tmp_path)) <= 123  # one step was done twice at most


@pytest.mark.parametrize(("number", "code", "left"), [("SIGUSR2", REQUEUED, True), ("SIGKILL", -9, False)])
def test_all_end_at_once_with_the_process_that_slurm_started(
    tmp_path: Path, processes: Processes, number: str, code: int, left: bool
) -> None:
    queue, group, _ = start(processes, tmp_path)
    os.kill(group.pid, getattr(signal, number))
    assert processes.codes(group) == [code]
    until(lambda: not members(group.pid), "the workers end")
    assert begun(queue) == [(0, left), (0, left)]
    assert queue.names("claims") == (set() if left else {"job-a", "job-b"})
    assert lines(tmp_path, "done") == []
