"""The Slurm engine on a real Slurm: what it does, every way to lose a worker or the driver, and what it refuses."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from processes import Processes, until
from simulated_work import BRISK, SimulatedWork, lines, simulated
from slurm_support import SCRIPT, Slurm
from tangency.engines import EngineConfig, Event, Job, Resources, left_on_slurm, open_engine
from tangency.engines.slurm import SlurmEngine
from tangency.engines.slurm_control import minutes, states
from tangency.errors import DataError, RunError

pytestmark = [pytest.mark.slow, pytest.mark.processes]
pytest.importorskip("submitit", reason="the extra slurm is not installed")
DRIVER = Path(__file__).parents[2] / "drive_simulated.py"


class Driving:
    """A driver in a thread: what it reported, and what it raised."""

    def __init__(self, run: Path, jobs: list[Job], workers: int = 2, **options: object) -> None:
        self.run, self.jobs, self.events = run, jobs, []
        self.error: BaseException | None = None
        self._arguments = EngineConfig(kind="slurm", **options), SimulatedWork(), run, workers, "cpu", BRISK
        self._thread = threading.Thread(target=self._drive)
        self._thread.start()

    def _drive(self) -> None:
        try:
            with SlurmEngine(*self._arguments) as engine:
                self.name = engine._name
                engine.do(self.jobs, self.events.append)
        except BaseException as error:  # raised in the test's own thread
            self.error = error

    def end(self) -> list[Event]:
        """Wait for the end; every job is done, once, and nobody is left."""
        self._thread.join(300)
        if self.error is not None:
            raise self.error
        assert not self._thread.is_alive(), f"not done in 300 s: {self.events[-3:]}"
        check(self.run, self.jobs)
        until(lambda: not any(state.alive for state in (states(self.name) or {}).values()), "all workers end")
        return self.events

    def works(self) -> bool:
        """Whether the driver has not ended."""
        return self._thread.is_alive()

    def working(self, steps: int = 3) -> None:
        """Wait until some steps are done."""
        until(lambda: len(lines(self.run)) >= steps or self.error is not None, "work begins")
        assert self.error is None, self.error


def check(run: Path, jobs: list[Job], repeated: int = 3) -> None:
    """All is made, no job was finished twice, and few steps were repeated."""
    for job in jobs:
        name, steps = job.payload["name"], job.payload["steps"]
        assert (run / name).read_text() == f"{name} of {steps} steps\n"
    assert sorted(lines(run, "done")) == sorted(f"{job.payload['name']} done" for job in jobs)
    steps = sum(job.payload["steps"] for job in jobs) + len(jobs)
    assert len(set(lines(run))) == steps
    assert len(lines(run)) <= steps + repeated


def long_jobs(number: int = 4, steps: int = 16) -> list[Job]:
    return [simulated(f"j{i}", steps, 0.5, cost=i) for i in range(number)]


def workers_of(run: Path) -> dict[str, psutil.Process]:
    """Worker processes of a run, by Slurm job."""
    processes = {}
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if "submitit.core._submit" in words and str(run) in words[-1] and words[0] != "srun":
                environment = process.environ()
                job = environment.get("SLURM_ARRAY_JOB_ID")
                name = f"{job}_{environment['SLURM_ARRAY_TASK_ID']}" if job else environment["SLURM_JOB_ID"]
                processes[name] = process
        except (psutil.Error, KeyError):
            continue
    return processes


def lost(events: list[Event]) -> list[str]:
    return [event.job.name for event in events if event.state == "lost"]


def test_two_workers_on_two_nodes_take_job_after_job(slurm: Slurm, tmp_path: Path) -> None:
    jobs = [simulated(f"j{i}", 2, 0.25, cost=i) for i in range(12)]
    driving = Driving(tmp_path / "run", jobs)
    events = driving.end()
    places = {event.where for event in events}
    assert len(places) == 2  # processes that stay, not one for each job
    assert {place.split()[-1] for place in places} == {"n1", "n2"}
    assert lost(events) == []
    done = [event.job.name for event in events if event.state == "done"]
    assert sorted(done) == sorted(job.name for job in jobs)


def test_a_killed_worker_is_replaced(slurm: Slurm, tmp_path: Path) -> None:
    driving = Driving(tmp_path / "run", long_jobs())
    driving.working()
    victim = next(iter(workers_of(driving.run).values()))
    victim.kill()
    assert len(lost(driving.end())) == 1


def test_a_cancelled_worker_is_replaced_though_sacct_never_says_so(slurm: Slurm, tmp_path: Path) -> None:
    from submitit import SlurmJob

    driving = Driving(tmp_path / "run", long_jobs())
    driving.working()
    job = next(iter(workers_of(driving.run)))
    slurm.command("scancel", job)
    until(lambda: states(driving.name)[job].name == "CANCELLED", "Slurm has cancelled it")
    theirs = SlurmJob(driving.run / "queue" / "slurm", job)
    assert theirs.watcher.get_state(job, mode="force") == "UNKNOWN"  # submitit's own view, without slurmdbd
    driving.end()


def test_a_requeued_worker_goes_on(slurm: Slurm, tmp_path: Path) -> None:
    driving = Driving(tmp_path / "run", long_jobs())
    driving.working()
    job = next(iter(workers_of(driving.run)))
    slurm.command("scontrol", "requeue", job)
    until(lambda: states(driving.name)[job].name == "PENDING", "it waits again")
    slurm.command("scontrol", "update", f"JobId={job}", "StartTime=now")
    driving.end()


@pytest.mark.parametrize("options", [{}, {"gpus_per_task": 0.5, "mem": 1}], ids=["alone", "sharing"])
def test_the_end_of_the_time_checkpoints_and_requeues(slurm: Slurm, tmp_path: Path, options: dict[str, object]) -> None:
    """USR2 is what `--signal` sends before the limit of `--time`."""
    driving = Driving(tmp_path / "run", long_jobs(2, 40), **options)
    driving.working()
    job, process = next(iter(workers_of(driving.run).items()))
    slurm.command("scancel", "--signal=USR2", job)
    until(lambda: not process.is_running(), "the worker leaves")
    until(lambda: states(driving.name)[job].name == "PENDING", "submitit has requeued it")
    slurm.command("scontrol", "update", f"JobId={job}", "StartTime=now")
    events = driving.end()
    assert lost(events) == []
    assert job in {event.where.split()[2] for event in events}


def test_a_worker_whose_time_is_over_goes_on_in_its_requeued_job(slurm: Slurm, tmp_path: Path) -> None:
    """Slurm's own signal, at the end of a limit of one minute."""
    driving = Driving(tmp_path / "run", long_jobs(1, 240), 1, time=1)
    driving.working()
    job = next(iter(workers_of(driving.run)))
    until(lambda: states(driving.name)[job].name == "PENDING", "its time is over, and submitit has requeued it")
    before = len(lines(driving.run))
    slurm.command("scontrol", "update", f"JobId={job}", "StartTime=now", "TimeLimit=30")
    events = driving.end()
    assert 10 < before < 240
    assert lost(events) == []
    assert len(list((driving.run / "queue" / "slurm").glob("*_log.out"))) == 1  # one Slurm job did it all


def test_two_workers_share_a_gpu_in_one_slurm_job_and_one_that_is_killed_is_started_again(
    slurm: Slurm, tmp_path: Path
) -> None:
    driving = Driving(tmp_path / "run", long_jobs(4, 12), 2, gpus_per_task=0.5, mem=1)
    driving.working(4)
    (job,) = (name for name, state in states(driving.name).items() if state.alive)
    asked = slurm.command("scontrol", "show", "job", "--oneliner", job)
    assert "gres/gpu:1" in asked or "gres:gpu:1" in asked or "gres/gpu=1" in asked, asked
    assert "mem=2000M" in asked or "MinMemoryNode=2000M" in asked, asked
    parent = workers_of(driving.run)[job]
    victim = next(child for child in parent.children() if "spawn_main" in " ".join(child.cmdline()))
    victim.kill()
    events = driving.end()
    assert {event.where.partition(", ")[2] for event in events if event.state == "done"} == {"worker 1", "worker 2"}
    assert {event.where.split()[2] for event in events if event.state == "done"} == {job}
    assert len(lost(events)) == 1


def test_without_mem_no_job_takes_a_whole_node(slurm: Slurm, tmp_path: Path) -> None:
    """The nodes have 4000 MB, and Slurm gives all of it to a job that asks for none."""
    needs = [dataclasses.replace(job, resources=Resources(memory=500_000_000)) for job in long_jobs(4, 8)]
    driving = Driving(tmp_path / "run", needs, 4)
    driving.working()
    together: list[int] = []

    def all_run() -> bool:
        together.append(sum(state.runs for state in states(driving.name).values()))
        return together[-1] == 4 or not driving.works()

    until(all_run, "all four run, two on each node")
    driving.end()
    assert max(together) == 4


def test_a_full_disk_ends_the_driver_in_words_and_leaves_no_slurm_job(slurm: Slurm, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "none", str(disk)], check=True)
    try:
        driving = Driving(disk / "run", long_jobs(4, 200))
        driving.working()
        with contextlib.suppress(OSError), open(disk / "filler", "wb") as filler:
            while True:
                filler.write(bytes(1 << 16))
        until(lambda: not driving.works(), "the driver ends")
        assert isinstance(driving.error, RunError)
        assert "cannot be written (No space left on device)" in str(driving.error)
        until(lambda: not any(state.alive for state in states(driving.name).values()), "no Slurm job is left")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_killed_node_loses_nothing(slurm: Slurm, tmp_path: Path) -> None:
    driving = Driving(tmp_path / "run", long_jobs())
    driving.working()
    slurm.node("n1").kill()
    for process in workers_of(driving.run).values():  # a node that dies takes its processes along
        if process.environ().get("SLURMD_NODENAME") == "n1":
            process.kill()
    time.sleep(5.0)
    assert slurm.run("node", "n1").returncode == 0
    assert len(lost(driving.end())) == 1


def drive(processes: Processes, run: Path, jobs: int = 4, steps: int = 16) -> subprocess.Popen:
    return processes.start([sys.executable, str(DRIVER), str(run), "2", str(jobs), str(steps)], stdout=subprocess.PIPE)


def test_jobs_go_on_without_their_driver_and_the_next_one_takes_them_up(
    slurm: Slurm, tmp_path: Path, processes: Processes
) -> None:
    run, jobs = tmp_path / "run", long_jobs(4, 16)
    first = drive(processes, run)
    until(lambda: len(lines(run)) >= 3 or first.poll() is not None, "work begins")
    workers = workers_of(run)
    assert len(workers) == 2
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = len(lines(run))
    until(lambda: len(lines(run)) >= before + 6, "the jobs go on")
    left = left_on_slurm(run)
    assert left is not None
    assert set(left.jobs) == set(workers)
    assert sorted(left.jobs.values()) == ["runs on n1", "runs on n2"]
    assert (left.tasks, len(left.running)) == (4, 2)
    second = drive(processes, run)
    assert processes.codes(second) == [0]
    check(run, jobs, repeated=0)  # the same workers did it all
    assert all(f"{name}_0_log.out" in os.listdir(run / "queue" / "slurm") for name in workers)
    assert len(list((run / "queue" / "slurm").glob("*_log.out"))) == 2


def test_the_first_error_of_a_job_ends_the_study_and_its_workers(slurm: Slurm, tmp_path: Path) -> None:
    driving = Driving(tmp_path / "run", [simulated("wrong", cost=9, error="data"), *long_jobs(2, 400)])
    with pytest.raises(DataError, match="wrong: no such data"):
        driving.end()
    until(lambda: not any(state.alive for state in states(driving.name).values()), "all workers end")
    assert lines(driving.run, "done") == []


def test_the_idle_driver_costs_little(slurm: Slurm, tmp_path: Path, processes: Processes) -> None:
    driver = drive(processes, tmp_path / "run", jobs=2, steps=60)
    until(lambda: len(lines(tmp_path / "run")) >= 4 or driver.poll() is not None, "work begins")
    own = psutil.Process(driver.pid)
    before, begun = own.cpu_times(), time.monotonic()
    time.sleep(15.0)
    after, seconds = own.cpu_times(), time.monotonic() - begun
    used = (after.user - before.user) + (after.system - before.system)
    children = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"driver {used / seconds:.2%} of a core, commands of Slurm {children / seconds:.2%}")
    assert used / seconds < 0.02
    os.kill(driver.pid, signal.SIGINT)  # Ctrl-C ends the workers, too
    driver.wait()
    until(lambda: not workers_of(tmp_path / "run"), "the workers end")


def test_a_partition_that_is_unknown(slurm: Slurm, tmp_path: Path) -> None:
    config = EngineConfig(kind="slurm", partition="mian")
    with pytest.raises(RunError, match=r"unknown partition 'mian'. Did you mean 'main'\? Known: main, short. Use"):
        open_engine(config, SimulatedWork(), tmp_path, 1, "cpu").__enter__()


def test_what_sbatch_refuses_is_said(slurm: Slurm, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"sbatch refuses the workers .*[Ff]eature"):
        Driving(tmp_path / "run", long_jobs(1), sbatch={"constraint": "no-such-feature"}).end()


def test_a_folder_that_a_node_does_not_see(slurm: Slurm, tmp_path: Path) -> None:
    """Node n1 runs where another file system lies over the run folder."""
    run = tmp_path / "run"
    run.mkdir()
    slurm.node("n1").kill()
    hidden = f"mount -t tmpfs none {tmp_path} && exec {sys.executable} {SCRIPT} node {slurm.folder} n1"
    subprocess.run(["unshare", "--mount", "sh", "-c", hidden], check=True, timeout=60)
    try:
        with pytest.raises(RunError, match=r"node 'n1' does not see the run folder .*; use --out on a shared file"):
            Driving(run, long_jobs(2)).end()
    finally:
        slurm.node("n1").kill()
        assert slurm.run("node", "n1").returncode == 0


def test_a_node_with_other_data(slurm: Slurm, tmp_path: Path) -> None:
    """Read from a file that differs by the time that a worker begins."""
    data = tmp_path / "data"
    data.write_text("first")
    engine = SlurmEngine(EngineConfig(kind="slurm"), SimulatedWork(data=str(data)), tmp_path / "run", 1, "cpu", BRISK)
    with pytest.raises(RunError, match=r"Slurm job .* on n. has other data than this machine"), engine:  # noqa: PT012
        data.write_text("second")
        engine.do(long_jobs(1), lambda event: None)


def test_minutes_of_a_limit() -> None:
    assert minutes("2-03:04:00") == (2 * 24 + 3) * 60 + 4
