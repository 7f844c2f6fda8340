"""The queue of a run: every job once, lost workers, errors, leases, drivers, and ten thousand jobs."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import simulated_work
from processes import Processes, until
from simulated_work import SimulatedWork, lines, simulated, worker
from tangency.engines.contract import ATTEMPTS, Job
from tangency.engines.queue import Pace, Queue, Report, busy
from tangency.engines.serving import QueueWorker
from tangency.errors import RunError

QUICK = Pace(poll=0.05, heartbeat=0.2, report=0.05, lease=30.0, driver=1.0, linger=0.3)


def publish(run: Path, jobs: list[Job], pace: Pace = QUICK) -> Queue:
    queue = Queue(run, pace)
    queue.publish(jobs, "simulated")
    return queue


def start(processes: Processes, run: Path, pace: Pace = QUICK) -> subprocess.Popen:
    arguments = [str(run), json.dumps(dataclasses.asdict(pace))]
    return processes.start([sys.executable, simulated_work.__file__, *arguments], {"OMP_NUM_THREADS": "1"})


def failure(queue: Queue, job: Job) -> dict[str, str]:
    return json.loads(queue.path("failed", job.id).read_text())


def lost(queue: Queue, job: Job) -> int:
    return json.loads(queue.path("begun", job.id).read_text())["lost"]


def test_one_worker_begins_the_most_costly_first_and_ends(tmp_path: Path) -> None:
    queue = publish(tmp_path, [simulated("small", cost=1), simulated("large", cost=9), simulated("middle", cost=5)])
    worker(tmp_path, QUICK).serve()
    assert lines(tmp_path, "done") == ["large done", "middle done", "small done"]
    assert queue.names("done") == {"job-small", "job-middle", "job-large"}
    assert queue.names("claims") == set()
    (report,), _ = queue.reports()
    assert report.ended
    assert report.job == ""


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    publish(tmp_path, [simulated("a"), simulated("b")])
    worker(tmp_path, QUICK).serve()
    publish(tmp_path, [simulated("a"), simulated("b"), simulated("c")])
    worker(tmp_path, QUICK).serve()
    assert sorted(lines(tmp_path, "done")) == ["a done", "b done", "c done"]


class LateQueue(Queue):
    """A new driver renews the queue while a worker, which has claimed a job, looks whether it is done."""

    def path(self, kind: str, job: str) -> Path:
        if kind == "done" and self.names("done"):
            Queue(self.run, self.pace).renew("simulated")
        return super().path(kind, job)


def test_a_worker_does_nothing_again_whose_outcome_a_new_driver_forgets(tmp_path: Path) -> None:
    queue = publish(tmp_path, [simulated("a")])
    worker(tmp_path, QUICK).serve()
    late = LateQueue(tmp_path, QUICK)
    hasty = QueueWorker(late, SimulatedWork(), "simulated", "cpu", Report("late", "late"))
    late.finished = set  # it looked before the first worker had done the job
    hasty.serve()
    assert queue.names("done") == set()  # forgotten
    assert lines(tmp_path, "done") == ["a done"]
    assert queue.names("claims") == set()


@pytest.mark.processes
def test_two_workers_do_every_job_once(tmp_path: Path, processes: Processes) -> None:
    jobs = [simulated(f"j{i}", cost=i % 3) for i in range(24)]
    queue = publish(tmp_path, jobs)
    first, second = start(processes, tmp_path), start(processes, tmp_path)
    assert processes.codes(first, second) == [0, 0]
    assert sorted(lines(tmp_path, "done")) == sorted(f"{job.payload['name']} done" for job in jobs)
    assert len(lines(tmp_path)) == 3 * len(jobs)  # two steps and the end, none twice
    reports, _ = queue.reports()
    assert len(reports) == 2


@pytest.mark.processes
def test_the_job_of_a_killed_worker_goes_on_at_once_from_its_checkpoint(tmp_path: Path, processes: Processes) -> None:
    job = simulated("long", steps=40)
    queue = publish(tmp_path, [job])
    first = start(processes, tmp_path)
    until(lambda: len(lines(tmp_path)) >= 3, "the first worker works")
    assert busy(tmp_path, QUICK)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert queue.names("claims") == {job.id}
    assert not queue.path("done", job.id).exists()
    begun = time.monotonic()
    worker(tmp_path, QUICK).serve()  # far sooner than its lease of 30 s would end
    assert time.monotonic() - begun < 25.0
    assert lost(queue, job) == 1
    steps = lines(tmp_path)
    assert steps[-1] == "long done"
    assert len(set(steps)) == 41
    assert len(steps) <= 42
    assert not busy(tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.processes
def test_a_job_that_ends_its_worker_every_time_fails(tmp_path: Path, processes: Processes) -> None:
    job = simulated("deadly", die=True)
    queue = publish(tmp_path, [job])
    for _ in range(ATTEMPTS):
        assert processes.codes(start(processes, tmp_path)) == [-signal.SIGKILL]
    worker(tmp_path, QUICK).serve()
    assert failure(queue, job)["kind"] == "RunError"
    assert f"'job deadly': its worker was lost {ATTEMPTS} times" in failure(queue, job)["text"]


def test_errors_of_a_job_are_its_outcome(tmp_path: Path) -> None:
    wrong, defect, sound = simulated("wrong", error="data"), simulated("defect", error="value"), simulated("sound")
    queue = publish(tmp_path, [wrong, defect, sound])
    worker(tmp_path, QUICK).serve()
    assert failure(queue, wrong) | {"where": ""} == {"kind": "DataError", "text": "wrong: no such data.", "where": ""}
    assert "ValueError: defect has a defect" in failure(queue, defect)["text"]
    assert queue.names("done") == {sound.id}


def test_a_worker_that_is_to_leave_ends_at_the_next_report_and_its_job_lost_nothing(tmp_path: Path) -> None:
    job = simulated("long", steps=40)
    queue = publish(tmp_path, [job])
    own = worker(tmp_path, QUICK)

    def leave() -> None:
        until(lambda: len(lines(tmp_path)) >= 2, "it works")
        own.leaving = True

    thread = threading.Thread(target=leave)
    thread.start()
    own.serve()
    thread.join()
    assert 2 <= len(lines(tmp_path)) < 20
    assert queue.names("claims") == set()
    worker(tmp_path, QUICK).serve()
    assert lost(queue, job) == 0
    assert len(lines(tmp_path)) == 41  # no step twice


@pytest.mark.parametrize("state", ["closed", "stopped"])
def test_a_worker_ends_with_its_driver(tmp_path: Path, state: str) -> None:
    queue = publish(tmp_path, [simulated("one", steps=20), simulated("two", steps=20)])

    def end() -> None:
        until(lambda: len(lines(tmp_path)) >= 2, "it works")
        Queue(tmp_path, QUICK).publish([], "simulated", state)

    thread = threading.Thread(target=end)
    thread.start()
    worker(tmp_path, QUICK).serve()
    thread.join()
    assert queue.names("done") == ({"job-one"} if state == "closed" else set())


def test_a_worker_of_another_work_touches_nothing(tmp_path: Path) -> None:
    queue = Queue(tmp_path, QUICK)
    queue.publish([simulated("a")], "another work")
    worker(tmp_path, QUICK).serve()
    assert lines(tmp_path) == []
    assert queue.names("begun") == set()


def foreign(queue: Queue, job: Job) -> Path:
    """The claim of a worker on another host, which cannot be probed."""
    path = queue.folder / "claims" / f"{job.id}.lock"
    path.write_text(f"filelock/2\npid=4711\nhost=elsewhere\nmode=lease\ntoken=abc\nduration={queue.pace.lease!r}\n")
    return path


def test_a_claim_of_another_host_is_taken_only_when_its_lease_ends(tmp_path: Path) -> None:
    pace = dataclasses.replace(QUICK, lease=1.5, linger=60.0, driver=60.0)
    job = simulated("theirs")
    queue = publish(tmp_path, [job], pace)
    path, stop = foreign(queue, job), threading.Event()

    def touch() -> None:
        while not stop.wait(0.2):
            path.touch()

    heart = threading.Thread(target=touch)
    heart.start()
    own = threading.Thread(target=worker(tmp_path, pace).serve)
    own.start()
    time.sleep(4.0)
    alive = lines(tmp_path) == []
    stop.set()
    heart.join()
    until(lambda: lines(tmp_path, "done") == ["theirs done"], "the lease ends")
    queue.publish([], "simulated", "closed")
    own.join()
    assert alive, "a claim was taken whose heartbeat went on"


def test_ten_thousand_jobs_are_queued_in_little_time_and_memory(tmp_path: Path) -> None:
    jobs = [simulated(f"trial-{i:05d}-with-a-name-of-usual-length", cost=i) for i in range(10_000)]
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue = publish(tmp_path, jobs)
    phase = Queue(tmp_path, QUICK).phase()
    seconds = time.monotonic() - begun
    assert phase is not None
    assert len(phase.jobs) == 10_000
    assert phase.jobs[0].id == jobs[-1].id
    assert seconds < 60.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB
    for job in jobs[:-3]:
        queue.path("done", job.id).write_text("{}")
    begun = time.monotonic()
    worker(tmp_path, QUICK).serve()  # finds the three that are left
    assert len(lines(tmp_path, "done")) == 3
    assert time.monotonic() - begun < 30.0


@pytest.mark.processes
def test_one_driver_at_a_time(tmp_path: Path, processes: Processes) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tangency.engines.queue import Pace, Queue\n"
        f"lease = Queue(Path({str(tmp_path)!r}), Pace(poll=0.05, heartbeat=0.2, driver=5.0)).hold()\n"
        "print('holds', flush=True); time.sleep(600)"
    )
    first = processes.start([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == b"holds\n"
    second = Queue(tmp_path, Pace(poll=0.05, heartbeat=0.2, driver=5.0))
    with pytest.raises(RunError, match=rf"another process is working on it, process {first.pid} on .*; wait for it"):
        second.hold()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    lease = second.hold()
    assert lease.is_locked
    lease.release()


def test_reports_are_read_when_they_change(tmp_path: Path) -> None:
    queue = publish(tmp_path, [])
    queue.report(Report("w1", "worker 1", job="a"))
    assert [report.job for report in queue.reports()[1]] == ["a"]
    assert queue.reports()[1] == []
    queue.report(Report("w1", "worker 1", job="b", share=0.5))
    everyone, new = queue.reports()
    assert everyone == new == [Report("w1", "worker 1", job="b", share=0.5)]
    queue.forget(["w1"])
    assert queue.reports() == ([], [])


def test_simulated_work_is_undisturbed_work(tmp_path: Path) -> None:
    """What the tests above compare with."""
    shares: list[float] = []
    SimulatedWork().open(tmp_path, "cpu")(simulated("a", steps=2).payload, shares.append)
    assert shares == [0.5, 1.0]
    assert lines(tmp_path) == ["a 0", "a 1", "a done"]
