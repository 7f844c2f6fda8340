"""What the driver of the Slurm engine decides, with Slurm's answers made up: who is lost, and what is refused."""

from __future__ import annotations

import dataclasses
import errno
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.pretended_slurm import GONE, PACE, RUNS, WAITS, Cluster, begin
from simulated_work import SimulatedWork, simulated
from tangency.engines import EngineConfig, Job, slurm_jobs
from tangency.engines import slurm_control as control
from tangency.engines.queue import Queue, Report, busy, dismiss
from tangency.engines.slurm import SlurmEngine, _Care
from tangency.engines.slurm_control import Ending, SlurmState
from tangency.engines.slurm_jobs import SlurmWorker
from tangency.errors import RunError
from tangency.files import temporary_path


def claimed(queue: Queue, job: Job, slurm: str = "100_0") -> Path:
    """A claim of a worker on another host, with its report."""
    path = queue.folder / "claims" / f"{job.id}.lock"
    path.write_text(f"filelock/2\npid=4711\nhost=n1\nmode=lease\ntoken=abc\nduration={PACE.lease!r}\n")
    queue.report(Report(f"slurm-{slurm}", f"Slurm job {slurm} on n1", slurm, job.id))
    return path


def test_as_many_workers_as_there_is_work_for_and_missing_ones_again(tmp_path: Path, cluster: Cluster) -> None:
    _, care, watch, _ = begin(tmp_path, cluster, [simulated("a"), simulated("b"), simulated("c")])
    care.look(3, watch)
    cluster.known = {"100_0": RUNS, "100_1": WAITS, "100_2": RUNS}
    care.look(3, watch)
    cluster.known = {"100_0": RUNS, "100_1": WAITS, "100_2": GONE}
    care.look(3, watch)
    cluster.known = {"100_0": RUNS, "100_1": dataclasses.replace(WAITS, held=True), "200_0": RUNS}
    care.look(3, watch)
    assert cluster.submitted == [3, 1, 1]
    assert cluster.cancelled == ["100_1"]  # nobody would release it


@pytest.mark.parametrize(
    "state", [GONE, WAITS, SlurmState("NODE_FAIL"), None], ids=["gone", "requeued", "node", "away"]
)
def test_a_silent_claim_is_free_once_slurm_says_that_its_worker_is_gone(
    tmp_path: Path, cluster: Cluster, state: SlurmState | None
) -> None:
    job = simulated("a")
    queue, care, watch, events = begin(tmp_path, cluster, [job])
    care.look(1, watch)
    path = claimed(queue, job)
    cluster.known = {"100_0": RUNS}
    watch.look()
    care.look(1, watch)  # seen for the first time
    assert [event.state for event in events] == ["running"]
    cluster.known = {} if state is None else {"100_0": state}
    care.look(1, watch)
    assert not path.exists()
    assert [event.state for event in events] == ["running", "lost"]
    assert events[-1].where == "Slurm job 100_0 on n1"
    assert "heartbeat stopped" in events[-1].why


def test_a_claim_whose_heart_beats_is_kept_whatever_slurm_says(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node's daemon may die while its worker works on."""
    monkeypatch.setattr(_Care, "_silent", lambda self, job: -1.0)
    job = simulated("a")
    queue, care, watch, events = begin(tmp_path, cluster, [job])
    care.look(1, watch)
    path = claimed(queue, job)
    cluster.known = {"100_0": GONE}
    care.look(1, watch)
    assert path.exists()
    assert [event for event in events if event.state == "lost"] == []


def test_a_silent_worker_that_runs_by_slurms_word_is_cancelled_first(tmp_path: Path, cluster: Cluster) -> None:
    job = simulated("a")
    queue, care, watch, _ = begin(tmp_path, cluster, [job])
    care.look(1, watch)
    path = claimed(queue, job)
    cluster.known = {"100_0": RUNS}
    care.look(1, watch)
    care.look(1, watch)
    assert cluster.cancelled[:1] == ["100_0"]
    assert path.exists()
    cluster.known = {"100_0": GONE}
    care.look(1, watch)
    assert not path.exists()


def test_nothing_is_decided_while_slurm_does_not_answer(tmp_path: Path, cluster: Cluster) -> None:
    job = simulated("a")
    queue, care, watch, _ = begin(tmp_path, cluster, [job])
    path, cluster.known = claimed(queue, job), None
    for _ in range(3):
        care.look(1, watch)
    assert path.exists()
    assert cluster.submitted == []


def test_workers_that_never_do_anything_are_given_up(tmp_path: Path, cluster: Cluster) -> None:
    _, care, watch, _ = begin(tmp_path, cluster, [simulated("a")])
    for _ in range(3):
        care.look(1, watch)
    with pytest.raises(RunError, match=r"3 workers ended and none did anything; .* job 300_0, says: the log of 300_0"):
        care.look(1, watch)
    assert cluster.submitted == [1, 1, 1]
    care.hope()  # something was done: faults are no defect
    care.look(1, watch)
    assert cluster.submitted == [1, 1, 1, 1]


@pytest.mark.parametrize("end", [Ending("FAILED", "n2", code=78), Ending("FAILED", "n2", signal=53)])
def test_a_node_that_does_not_see_the_folder(tmp_path: Path, cluster: Cluster, end: Ending) -> None:
    _, care, watch, _ = begin(tmp_path, cluster, [simulated("a")])
    care.look(1, watch)
    cluster.known, cluster.endings = {"100_0": SlurmState("FAILED")}, {"100_0": end}
    with pytest.raises(RunError, match=r"node 'n2' does not see the run folder .*, expected one that all nodes share"):
        care.look(1, watch)


def test_a_worker_that_is_unfit_says_why(tmp_path: Path, cluster: Cluster) -> None:
    queue, care, watch, _ = begin(tmp_path, cluster, [simulated("a")])
    care.look(1, watch)
    report = Report("slurm-100_0", "Slurm job 100_0 on n1", "100_0", unfit="has torch 1, expected torch 2 as here.")
    queue.report(report)
    with pytest.raises(RunError, match="Slurm job 100_0 on n1 has torch 1, expected torch 2 as here"):
        care.look(1, watch)


def test_a_worker_compares_versions_and_data_with_the_drivers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("first")
    worker = SlurmWorker.here(SimulatedWork(data=str(data)), tmp_path, "cpu", PACE)
    assert worker.unfit() == ""
    assert worker.identity == SlurmWorker.here(SimulatedWork(data=str(data)), tmp_path, "cpu", PACE).identity
    assert "expected torch 0" in dataclasses.replace(worker, versions=("torch 0",)).unfit()
    data.write_text("second")
    assert "has other data" in worker.unfit()
    assert worker.identity != SlurmWorker.here(SimulatedWork(data=str(data)), tmp_path, "cpu", PACE).identity


def test_the_workers_of_a_killed_driver_are_taken_up_or_those_of_another_work_cancelled(
    tmp_path: Path, cluster: Cluster
) -> None:
    _, care, watch, _ = begin(tmp_path, cluster, [simulated("a"), simulated("b")])
    care.look(2, watch)
    cluster.known = {"100_0": RUNS, "100_1": WAITS}
    _, again, watch, _ = begin(tmp_path, cluster, [simulated("b")])
    again.look(2, watch)
    assert (cluster.submitted, cluster.cancelled) == ([2], [])
    other = SlurmWorker.here(SimulatedWork(threads=2), tmp_path, "cpu", PACE)
    _Care(Queue(tmp_path, PACE), other, cluster, "tangency-test").look(1, watch)
    assert cluster.cancelled == ["100_1"]  # the one that runs ends itself: the work is another one
    assert cluster.submitted == [2, 1]


def test_another_engine_first_ends_the_workers_that_are_left(tmp_path: Path, cluster: Cluster) -> None:
    queue, *_ = begin(tmp_path, cluster, [simulated("a")])
    path = claimed(queue, simulated("a"))
    assert busy(tmp_path, PACE)
    dismiss(tmp_path, PACE)  # returns when the claim is not touched any more
    phase = queue.phase()
    assert phase is not None
    assert (phase.state, phase.jobs) == ("stopped", ())
    assert path.exists()
    assert not busy(tmp_path, PACE)


@pytest.mark.parametrize("answers", [True, False])
def test_on_a_full_disk_the_workers_are_cancelled_though_they_cannot_be_told(
    tmp_path: Path,
    cluster: Cluster,
    opened: Callable[..., SlurmEngine],
    monkeypatch: pytest.MonkeyPatch,
    answers: bool,
) -> None:
    def submit(worker: SlurmWorker, number: int, memory: int) -> list[str]:
        cluster.known = {"7_0": WAITS, "7_1": RUNS} if answers else None
        monkeypatch.setattr("tangency.files.os.replace", refuse)
        return ["7_0", "7_1"]

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cluster, "submit", submit)
    jobs, begun = [simulated("a"), simulated("b")], time.monotonic()
    with pytest.raises(RunError, match=r"slurm.json': cannot be written \(No space left on device\)"), opened() as one:
        one.do(jobs, lambda event: None)
    assert set(cluster.cancelled) == {"7_0", "7_1"}
    assert time.monotonic() - begun < PACE.ending / 2  # nobody is waited for
    assert not (tmp_path / "run" / "queue" / "driver.lock").exists()


def test_workers_that_are_gone_leave_nothing_half_written_behind(
    tmp_path: Path, cluster: Cluster, opened: Callable[..., SlurmEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tangency.files.socket.gethostname", lambda: "n1")
        half = temporary_path(tmp_path / "run" / "model.safetensors")
    cluster.known = {"7_0": dataclasses.replace(WAITS)}
    with opened():
        half.write_text("half")
    assert half.exists()  # as Slurm says that one may still come
    cluster.known = None
    with opened():
        pass
    assert half.exists()  # Slurm says nothing
    cluster.known = {"7_0": GONE}
    with opened():
        pass
    assert not half.exists()


def test_what_it_writes_itself_is_whole_or_absent(
    tmp_path: Path, opened: Callable[..., SlurmEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file that is written atomically says so to the journal of fault injection."""
    monkeypatch.setenv("TANGENCY_JOURNAL", str(tmp_path / "journal"))
    queue = Queue(tmp_path / "run", PACE)
    with opened():
        token = (queue.folder / "token").read_text()
        claimed(queue, simulated("a"))
        assert busy(tmp_path / "run", PACE)
    with opened():
        assert (queue.folder / "token").read_text() == token != ""
    points = (tmp_path / "journal").read_text().splitlines()
    assert (points.count("rename:token"), points.count("rename:.clock")) == (1, 1)


def test_a_disk_that_is_nearly_full_is_refused_before_anything_is_queued_and_by_each_worker(
    tmp_path: Path, opened: Callable[..., SlurmEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [100 << 20]
    monkeypatch.setattr(slurm_jobs, "free_bytes", lambda folder: free[0])
    worker = SlurmWorker.here(SimulatedWork(), tmp_path, "cpu", PACE)
    assert worker.unfit() == ""
    free[0] = 99 << 20
    assert worker.unfit().startswith("has 99 MB free, expected 100 MB at least; free some space")
    with pytest.raises(RunError, match=r"^engine slurm: run '.*/run' has 99 MB free, expected 100 MB at least;"):
        opened().__enter__()
    assert not (tmp_path / "run").exists()


def test_without_submitit_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RunError, match=r"submitit is missing; install it with: pip install 'tangency\[slurm\]'"):
        SlurmEngine(EngineConfig(kind="slurm"), SimulatedWork(), tmp_path / "run", 1, "cpu").__enter__()
    assert not (tmp_path / "run").exists()


def test_without_sbatch_it_says_what_it_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match=r"sbatch, srun, .* not on the PATH, expected a machine that submits to Slurm"):
        SlurmEngine(EngineConfig(kind="slurm"), SimulatedWork(), tmp_path / "run", 1, "cpu").__enter__()
    assert not (tmp_path / "run").exists()


def test_what_squeue_and_scontrol_say(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "squeue": "12_0|RUNNING|n1|None\n12_1|PENDING||JobHeldUser\n13|PENDING||Resources\n",
        "show job": "JobId=7 JobState=FAILED Restarts=0 ExitCode=78:0 NodeList=n2 Reason=NonZeroExitCode",
        "show partition": "PartitionName=main Default=YES MaxTime=UNLIMITED\n"
        "PartitionName=short Default=NO MaxTime=00:30:00\n",
    }
    monkeypatch.setattr(control, "_run", lambda *words: next(v for k, v in said.items() if k in " ".join(words)))
    known = control.states("name")
    assert known == {"12_0": RUNS, "12_1": SlurmState("PENDING", "", True), "13": WAITS}
    assert [(known[job].runs, known[job].alive) for job in known] == [(True, True), (False, False), (False, True)]
    assert control.ending("7") == Ending("FAILED", "n2", 78, 0)
    assert control.ending("7").unseen
    assert (control.time_limit("short"), control.time_limit("")) == (30, None)
    with pytest.raises(RunError, match=r"unknown partition 'shrt'. Did you mean 'short'\?"):
        control.time_limit("shrt")
