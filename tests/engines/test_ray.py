"""Jobs on a real Ray cluster: order, errors, lost workers and nodes, a killed driver, folders that nodes do not see."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engines.conftest import RayHere
from engines.simulated import Counting, counting_job, value
from processes import Processes, run, until
from tangency.engines import Event, Job, RayEngine, Resources
from tangency.errors import DataError, RunError

pytestmark = [pytest.mark.processes, pytest.mark.slow]


class Driver:
    """An engine on the cluster, and what it reported."""

    def __init__(self, here: RayHere, folder: Path, work: Counting, workers: int, gpus: float, device: str) -> None:
        self.run, self.work, self.events = folder, work, list[Event]()
        self.engine = RayEngine(work, folder, workers, device, here.address, gpus)

    def do(self, *jobs: Job) -> None:
        self.engine.do(jobs, self.events.append)

    def order(self, state: str) -> list[str]:
        return [event.job.id for event in self.events if event.state == state]

    def pids(self) -> set[int]:
        return {int(event.where.rpartition(":")[2]) for event in self.events if event.where}


@pytest.fixture
def driver(ray_here: RayHere, tmp_path: Path) -> Iterator:
    """Makes drivers; the workers of each are gone with the test."""
    drivers: list[Driver] = []

    def make(workers: int = 1, data: str = "", hidden: bool = False, gpus: float = 0.0, device: str = "cpu") -> Driver:
        folder = ray_here.hidden / tmp_path.name if hidden else tmp_path / "run"
        folder.mkdir(parents=True, exist_ok=True)
        made = Driver(ray_here, folder, Counting(str(tmp_path / "log"), data), workers, gpus, device)
        drivers.append(made)
        return made

    yield make
    for one in drivers:
        one.engine.__exit__()
        until(lambda one=one: not any(psutil.pid_exists(pid) for pid in one.pids()), "all workers end")


def test_jobs_are_done_the_most_costly_first_and_report(driver) -> None:
    one = driver()
    one.do(counting_job("small", 1.0), counting_job("large", 3.0, steps=3, seconds=0.1), counting_job("middle", 2.0))
    assert one.order("running") == one.order("done") == ["large", "middle", "small"]
    assert value(one.run, "large") == 3
    shares = [event.share for event in one.events if event.job.id == "large" and event.state == "progress"]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert len(one.pids()) == 1, "one worker does all jobs"
    one.do(counting_job("next", reads="made/large/value"))
    assert value(one.run, "next") == 5
    assert len(one.pids()) == 1, "it stays from one phase to the next"
    assert not list(one.run.glob(".*.tmp")) or one.engine.dashboard == ""


def test_two_workers_share_the_jobs(driver) -> None:
    one = driver(workers=2)
    one.do(*[counting_job(f"j{number}", steps=2, seconds=0.3) for number in range(6)])
    assert sorted(one.order("done")) == [f"j{number}" for number in range(6)]
    assert len(one.pids()) == 2


def test_a_killed_worker_is_replaced_and_its_job_goes_on(driver) -> None:
    one = driver()
    one.do(counting_job("a", steps=4, fault="killed once"), counting_job("b"))
    lost = [event for event in one.events if event.state == "lost"]
    assert [event.job.id for event in lost] == ["a"]
    assert "killed, as systems do when memory runs out" in lost[0].why
    assert [int(step) for name, step, *_ in one.work.noted() if name == "a"] == [0, 1, 2, 3]
    assert value(one.run, "a") == 4


def test_a_job_that_kills_three_workers_ends_the_study(driver) -> None:
    one = driver()
    with pytest.raises(RunError, match="task 'count a': its process died 3 times, the last time killed"):
        one.do(counting_job("a", steps=9, fault="killed"))
    assert one.order("lost") == ["a", "a"]


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("user", DataError, "^these data are no data; use others$"),
        ("bug", RuntimeError, r"(?s)in worker, task 'count bad':\nTraceback.*ZeroDivisionError: a bug"),
    ],
)
def test_the_first_error_of_a_job_is_raised_and_nothing_is_left(driver, fault, error, words) -> None:
    one = driver(workers=2)
    with pytest.raises(error, match=words):
        one.do(counting_job("slow", 9.0, steps=1000, seconds=0.1), counting_job("bad", 1.0, fault=fault))
    # the fixture waits for the end of the worker that still counts


def test_a_job_of_a_lost_node_is_done_on_another(driver, ray_here: RayHere) -> None:
    one = driver(workers=2)
    killed: list[str] = []

    def watch(event: Event) -> None:
        one.events.append(event)
        if event.state == "progress" and not killed:
            pid = int(event.where.rpartition(":")[2])
            name = next(name for name in ("n1", "n2") if node_of(pid, ray_here) == name)
            killed.append(name)
            ray_here.script("kill", ray_here.folder, name)

    try:
        one.engine.do([counting_job(f"j{n}", steps=8, seconds=0.5) for n in range(2)], watch)
    finally:
        ray_here.script("node", ray_here.folder, killed[0], *(["--hide", ray_here.hidden] * (killed == ["n2"])))
    assert len(one.order("lost")) == 1
    assert "with its node" in next(event.why for event in one.events if event.state == "lost")
    assert sorted(one.order("done")) == ["j0", "j1"]
    steps = [(name, step) for name, step, *_ in one.work.noted()]
    assert len(steps) - len(set(steps)) <= 1, "at most the step that was cut off is repeated"


def node_of(pid: int, here: RayHere) -> str:
    """Name of the node that a process belongs to."""
    above = {parent.pid for parent in psutil.Process(pid).parents()}
    owners = [name for name in ("n1", "n2") if int((here.folder / f"{name}.pid").read_text()) in above]
    assert len(owners) == 1
    return owners[0]


DRIVER = """
import sys
from pathlib import Path
from engines.simulated import Counting, counting_job
from tangency.engines import RayEngine
log, run, address = sys.argv[1:]
with RayEngine(Counting(log), Path(run), 2, "cpu", address) as engine:
    engine.do([counting_job(name, steps=10_000, seconds=0.1) for name in "ab"], print)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_driver(ray_here: RayHere, processes: Processes, tmp_path: Path, end: int) -> None:
    work = Counting(str(tmp_path / "log"))
    process = processes.start(
        [sys.executable, "-c", DRIVER, work.log, str(tmp_path / "run"), ray_here.address],
        {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=-3,
        stdout=-3,
    )
    until(lambda: {name for name, *_ in work.noted()} == {"a", "b"} or process.poll() is not None, "both work")
    pids = {int(pid) for _, _, pid, _ in work.noted()}
    assert len(pids) == 2
    process.send_signal(end)
    process.wait()
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "the workers end")
    lines = len(work.noted())
    assert lines == len(work.noted())


def test_nodes_that_do_not_see_the_folder_are_sent_files(driver, ray_here: RayHere) -> None:
    one = driver(workers=2, hidden=True)
    (one.run / "given").write_text("100")
    jobs = [counting_job(f"j{n}", steps=3, seconds=0.2, reads="given") for n in range(6)]
    one.do(*jobs)
    assert [value(one.run, f"j{n}") for n in range(6)] == [103] * 6
    folders = {Path(folder) for *_, folder in one.work.noted()}
    assert one.run in folders, "node n1 sees the folder"
    (own,) = folders - {one.run}  # node n2 has one of its own
    assert own.name.startswith("tangency-ray-")
    made = sorted(str(path.relative_to(one.run)) for path in one.run.rglob("*") if path.is_file())
    expected = sorted(["given", *(f"made/j{n}/{name}" for n in range(6) for name in ("value", "done.json"))])
    assert [name for name in made if not name.endswith(".tmp")] == expected, "checkpoints are gone here, too"
    one.engine.__exit__()
    assert not own.exists(), "it is removed at the end"


def test_a_worker_without_the_folder_loses_one_step_at_most(driver, ray_here: RayHere) -> None:
    one = driver(workers=2, hidden=True)
    one.do(*[counting_job(f"j{n}", steps=6, seconds=0.2, fault="killed once") for n in range(4)])
    for n in range(4):
        steps = [int(step) for name, step, *_ in one.work.noted() if name == f"j{n}"]
        assert sorted(set(steps)) == list(range(6))
        assert steps.count(0) == 1, "it goes on from a checkpoint that the driver had written"
        assert value(one.run, f"j{n}") == 6
    assert {Path(folder) == one.run for *_, folder in one.work.noted()} == {True, False}


def test_a_node_without_the_data_is_refused_before_work_begins(driver, ray_here: RayHere) -> None:
    data = ray_here.hidden / "data"
    data.write_text("the data")
    one = driver(data=str(data))
    words = rf"node .* has not the data of this study: data '{data}': not there. Put the same data there"
    with pytest.raises(RunError, match=words):
        one.do(counting_job("a"))
    assert one.work.noted() == []


def test_a_node_without_the_package_is_refused(driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("from engines.simulated import Counting\nclass Own(Counting): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    one = driver()
    one.engine._work = importlib.import_module("only_here").Own(one.work.log)
    with pytest.raises(RunError, match=r"cannot run tangency \(ModuleNotFoundError: No module named 'only_here'\)"):
        one.do(counting_job("a"))


def test_a_share_of_an_accelerator_is_a_resource(driver) -> None:
    one = driver(workers=1, gpus=0.5, device="auto")
    one.do(counting_job("a"))
    assert json.loads((one.run / "made/a/done.json").read_text()) == {"gpu": "0"}


def test_without_a_share_the_workers_divide_the_accelerators(driver) -> None:
    one = driver(workers=4, device="auto")
    one.do(*[counting_job(f"j{n}") for n in range(4)])  # two nodes with one each
    assert one.engine._have.gpus == 0.5
    assert json.loads((one.run / "made/j3/done.json").read_text()) == {"gpu": "0"}


def test_a_worker_that_no_node_can_hold_is_refused(driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tangency.engines.ray._PATIENCE", 1.0)
    one = driver(gpus=2.0, device="auto")
    with pytest.raises(RunError, match=r"no node has room for a worker of 1 CPUs, 2 GPUs and 0\.0 GB; the nodes have"):
        one.do(counting_job("a"))


def test_a_job_that_needs_more_memory_than_any_node_has_is_refused(driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tangency.engines.ray._PATIENCE", 1.0)
    one = driver()
    one.do(counting_job("a"))
    with pytest.raises(RunError, match=r"no node has room for a worker of 1 CPUs, 0 GPUs and 1000000\.0 GB; the nodes"):
        one.do(dataclasses.replace(counting_job("b"), resources=Resources(memory=10**15)))
    assert one.order("done") == ["a"]


OWN = """
import os, sys
from pathlib import Path
from engines.simulated import Counting, counting_job, value
from tangency.engines import RayEngine
log, run = sys.argv[1:]
before = dict(os.environ)
if __name__ == "__main__":
    with RayEngine(Counting(log), Path(run), 2, "cpu") as engine:
        engine.do([counting_job(name) for name in "abc"], lambda event: None)
    assert [value(Path(run), name) for name in "abc"] == [2, 2, 2]
    assert dict(os.environ) == before
"""


def test_a_cluster_of_its_own_is_started_and_ends_without_a_word(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(OWN)
    ended = run(
        [sys.executable, "-W", "error", str(script), str(tmp_path / "log"), str(tmp_path / "run")],
        {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert (ended.stdout, ended.stderr) == ("", "")
    pids = {int(pid) for _, _, pid, _ in Counting(str(tmp_path / "log")).noted()}
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "the workers end")
