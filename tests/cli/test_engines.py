"""Engines on the command line: which one is chosen, what is refused, and how a run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engines.pretended_slurm import Cluster
from simulated_work import SimulatedWork, simulated
from study_support import tiny_spec, write_data, write_spec
from tangency.cli.app import app
from tangency.cli.engines import chosen_engine
from tangency.engines import Bulletin, EngineConfig, Event, Job, LocalEngine, read_going, slurm_control
from tangency.engines.queue import Pace, Queue, Report
from tangency.engines.slurm import _Care, _PhaseWatch
from tangency.engines.slurm_jobs import SlurmWorker
from tangency.errors import SpecError
from tangency.files import is_locked, locked, write_json
from tangency.study import parse_spec

JOBS = [Job("a", "train a", {}, cost=1.0), Job("b", "train b", {}, cost=3.0)]


def test_options_replace_those_of_the_spec_and_another_kind_begins_anew() -> None:
    own = EngineConfig(kind="slurm", partition="gpu", time=60, sbatch={"constraint": "a100"})
    assert chosen_engine(own, {"time": 30}) == own.model_copy(update={"time": 30})
    assert chosen_engine(own, {"kind": "ray", "address": "auto"}) == EngineConfig(kind="ray", address="auto")
    assert chosen_engine(own, {"sbatch": ["qos=low", "reservation=a=b"]}).sbatch == {"qos": "low", "reservation": "a=b"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "kubernetes"}, "engine: kind"),
        ({"address": "auto"}, "engine.address: got it with the engine local"),
        ({"kind": "ray", "partition": "gpu"}, "engine.partition: got it with the engine ray"),
        (
            {"kind": "slurm", "gpus_per_task": 1.5},
            r"got 1\.5 with the engine slurm, .* or a fraction of one",
        ),
        ({"kind": "slurm", "sbatch": ["qos"]}, "--sbatch: got 'qos', expected KEY=VALUE"),
        ({"kind": "slurm", "time": -1}, "engine: time"),
    ],
)
def test_options_that_fit_no_engine_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        chosen_engine(EngineConfig(), options)


def test_no_identity_depends_on_the_engine(tmp_path: Path) -> None:
    content = tiny_spec(write_data(tmp_path), sweep=[{"objective": "standard"}])
    plain = parse_spec(content, "a")
    assert parse_spec(content | {"engine": {"kind": "ray"}}, "b").digest() == plain.digest()
    with pytest.raises(SpecError, match=r"engine\.knid"):
        parse_spec(content | {"engine": {"knid": "ray"}}, "c")


def test_a_run_says_how_it_goes_on(tmp_path: Path) -> None:
    bulletin = Bulletin(tmp_path / "progress.json")
    bulletin.begin("training", JOBS)
    for event in (
        Event(JOBS[0], "running", 0.0, "worker 1"),
        Event(JOBS[0], "done", 1.0, "worker 1"),
        Event(JOBS[1], "lost", 0.0, "worker 2", "killed"),
        Event(JOBS[1], "progress", 0.5, "worker 3"),
    ):
        bulletin.take(event)
    bulletin.write()
    going = read_going(bulletin.path)
    assert going is not None
    assert (going.phase, going.jobs, going.done, going.share) == ("training", 2, 1, (1.0 + 3.0 * 0.5) / 4.0)
    assert [(job.name, job.where, job.share) for job in going.running] == [("train b", "worker 3", 0.5)]
    assert [(lost.name, lost.where, lost.why) for lost in going.lost] == [("train b", "worker 2", "killed")]
    bulletin.begin("measuring", [])
    after = read_going(bulletin.path)
    assert after is not None
    assert (after.phase, after.share, after.running, len(after.lost)) == ("measuring", 1.0, (), 1)


def test_status_says_what_is_being_done_while_a_process_holds_the_run(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path), untrained=False, sweep=[{"objective": "standard"}]))
    run = tmp_path / "run"
    arguments = ["study", "status", str(spec), "--out", str(run)]
    with locked(run, "run", keep=True), LocalEngine(SimulatedWork(), run, 1, "cpu") as engine:
        engine.dashboard = "http://127.0.0.1:8265"
        bulletin = Bulletin(run / "progress.json", engine)
        bulletin.begin("training", JOBS)
        bulletin.take(Event(JOBS[0], "running", 0.25, "worker 1"))
        bulletin.write()
        assert is_locked(run)
        said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, said.output
    assert "training: 0 of 2 tasks done, 6%" in said.output
    assert "running  train a, 25%, on worker 1" in said.output
    assert "dashboard  http://127.0.0.1:8265" in said.output
    assert not is_locked(run)
    later = CliRunner().invoke(app, [*arguments, "--watch"])  # nothing holds it: it ends at once
    assert later.exit_code == 0
    assert "training:" not in later.output


def status(spec: Path, run: Path, *options: str) -> str:
    said = CliRunner().invoke(app, ["study", "status", str(spec), "--out", str(run), *options])
    assert said.exit_code == 0, said.output
    return said.output


BOTH = "100_0|RUNNING|n1|None\n100_1|PENDING||Resources\n"
GONE = "100_0|COMPLETED|n1|None\n100_1|CANCELLED||None\n"


def left_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, dict[str, str]]:
    """Spec, run folder with what a killed driver left, and what Slurm's commands say."""
    spec = write_spec(folder, tiny_spec(write_data(folder), untrained=False, sweep=[{"objective": "standard"}]))
    run, said = folder / "run", {"squeue": ""}
    monkeypatch.setattr(
        slurm_control, "_run", lambda *words: said.get(words[0] if "--name=tangency-x" in words else "")
    )
    monkeypatch.setattr("tangency.engines.slurm_left.shutil.which", lambda name: f"/usr/bin/{name}")
    assert "Slurm" not in status(spec, run)
    queue = Queue(run)
    care = _Care(queue, SlurmWorker.here(SimulatedWork(), run, "cpu", Pace()), Cluster({}), "tangency-x")
    care.publish([simulated("a"), simulated("b"), simulated("c")])
    care.look(2, _PhaseWatch(queue, [], lambda event: None))  # submits; then this driver is killed
    queue.report(Report("slurm-100_0", "Slurm job 100_0 on n1", "100_0", "job-b", share=0.25))
    write_json(queue.path("done", "job-a"), {})
    said["squeue"] = BOTH
    return spec, run, said


def test_status_says_that_slurm_jobs_go_on_after_their_driver_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, run, said = left_behind(tmp_path, monkeypatch)
    printed = status(spec, run)
    assert "its Slurm jobs go on: 100_0 (runs on n1), 100_1 (waits)" in printed
    assert "1 of 3 tasks of their phase done; `tangency study run` takes them up" in printed
    assert "running  job b, 25%, on Slurm job 100_0 on n1" in printed
    assert json.loads(status(spec, run, "--json"))["slurm"]["jobs"] == {"100_0": "runs on n1", "100_1": "waits"}
    with locked(run, "run", keep=True):
        assert "Slurm" not in status(spec, run)  # a driver says itself how it goes on
    said["squeue"] = GONE
    assert "Slurm" not in status(spec, run)
    assert json.loads(status(spec, run, "--json"))["slurm"] is None
    said.clear()
    assert "its Slurm jobs may go on: 100_0, 100_1 (Slurm does not answer (squeue))" in status(spec, run)
    monkeypatch.setattr("tangency.engines.slurm_left.shutil.which", lambda name: None)
    assert "may go on: 100_0, 100_1 (there is no squeue on this machine" in status(spec, run, "--watch")


def test_what_an_older_version_noted_of_slurm_jobs_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, run, _ = left_behind(tmp_path, monkeypatch)
    noted = run / "queue" / "slurm.json"
    write_json(noted, {"work": json.loads(noted.read_text())["work"], "jobs": ["100_0", "100_1"]})
    printed = status(spec, run, "--watch")  # cannot be watched, and ends
    assert (
        printed.count("may go on: 100_0, 100_1 (an older version of tangency submitted them; `squeue --me` says") == 1
    )
    again = _Care(Queue(run), SlurmWorker.here(SimulatedWork(), run, "cpu", Pace()), Cluster({}), "tangency-x")
    assert (again._ids, again._memory) == (["100_0", "100_1"], 0)  # a driver of the same work takes them up


def test_watch_shows_what_slurm_jobs_do_without_their_driver_until_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, run, said = left_behind(tmp_path, monkeypatch)
    later = [{"squeue": "100_0|COMPLETED|n1|None\n100_1|RUNNING|n2|None\n"}, {}, {"squeue": GONE}]
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        said.clear()
        said.update(later[len(paused) - 1])

    monkeypatch.setattr("tangency.cli.engines.time.sleep", pause)
    printed = status(spec, run, "--watch")
    seen = [line.partition("its Slurm jobs ")[2] for line in printed.splitlines() if "its Slurm jobs " in line]
    assert seen == [
        "go on: 100_0 (runs on n1), 100_1 (waits)",
        "go on: 100_1 (runs on n2)",
        "may go on: 100_0, 100_1 (Slurm does not answer (squeue))",
    ]
    assert paused == [15.0, 15.0, 15.0]  # the controller is not asked more often than a driver does
