"""What jobs cost: noted by the worker, added over attempts and runs, told by phase and by trial."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from unittest import mock

import pytest

from study_support import InProcess, tiny_spec, write_data
from tangency.evaluate.entries import fields_json
from tangency.report.read.summary import read_summary
from tangency.study import parse_spec, run_study, study_status
from tangency.study.layout import Layout
from tangency.study.planning import plan_study
from tangency.study.work import costs as costs_module
from tangency.study.work.costs import noted, read_attempts
from tangency.study.work.jobs import study_jobs
from tangency.study.work.needs import Needs
from tangency.study.work.tasks import Task
from tangency.worlds import load_dataset

pytestmark = pytest.mark.processes  # torch asks the system for the processor

FIELDS = ("attempts", "seconds", "cpu_seconds", "gpu_seconds")


def burn(seconds: float) -> None:
    """Processor time, whatever else the machine does."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def run_here(content: dict, run: Path) -> dict:
    with mock.patch("tangency.study.run.open_engine", InProcess):
        return run_study(parse_spec(content, "test"), run)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path, dict]:
    folder = tmp_path_factory.mktemp("costs")
    content = tiny_spec(write_data(folder))
    return content, folder / "run", run_here(content, folder / "run")


def test_processor_time_is_counted_and_waiting_is_not(tmp_path: Path) -> None:
    with noted(tmp_path / "a.json", "train", ["x"], "cpu", lambda _: None):
        burn(0.05)
        time.sleep(0.1)
    (attempt,) = read_attempts(tmp_path / "a.json")
    assert (attempt.kind, attempt.trials, attempt.gpu_seconds) == ("train", ["x"], 0.0)
    assert 0.05 <= attempt.cpu_seconds < 0.1
    assert attempt.seconds >= 0.15


def test_a_job_done_twice_counts_twice_even_where_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "costs" / "a.json"

    def fail() -> None:
        with noted(path, "train", [], "cuda:1", lambda _: None):
            burn(0.02)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with noted(path, "train", [], "cpu", lambda _: None):
        burn(0.01)
    first, second = read_attempts(path)
    assert first.cpu_seconds >= 0.02
    assert first.gpu_seconds == first.seconds > 0
    assert second.cpu_seconds >= 0.01
    assert second.gpu_seconds == 0


def test_what_a_killed_worker_took_is_noted_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs_module, "_PAUSE", 0.0)
    path, shares = tmp_path / "a.json", list[float]()
    with noted(path, "train", [], "cpu", shares.append) as advance:
        burn(0.02)
        advance(0.5)
        assert shares == [0.5]
        (so_far,) = read_attempts(path)  # what stands there if it is killed now
        assert so_far.cpu_seconds >= 0.02
        burn(0.02)
    (whole,) = read_attempts(path)
    assert whole.cpu_seconds >= so_far.cpu_seconds + 0.02


def test_phases_add_up_to_the_total_and_trials_to_the_phases(study: tuple[dict, Path, dict]) -> None:
    _, run, summary = study
    costs = summary["costs"]
    assert set(costs["phases"]) == {"training", "fits", "filters", "measuring", "pictures"}
    # two networks and an untrained one; a score; one choice of filters; two shards; one task of pictures
    attempts = {name: phase["attempts"] for name, phase in costs["phases"].items()}
    assert attempts == {"training": 3, "fits": 1, "filters": 1, "measuring": 2, "pictures": 1}
    for name in FIELDS:
        whole = sum(phase[name] for phase in costs["phases"].values())
        assert costs["total"][name] == pytest.approx(whole)
    assert set(costs["trials"]) == {trial["id"] for trial in summary["trials"]}
    for phase in ("training", "filters", "measuring", "pictures"):
        for name in FIELDS[1:]:
            parts = sum(own[phase][name] for own in costs["trials"].values() if phase in own)
            assert parts == pytest.approx(costs["phases"][phase][name]), (phase, name)
    assert all("fits" not in own for own in costs["trials"].values())
    for trial in summary["trials"]:
        if trial.get("cpu_seconds"):
            assert costs["trials"][trial["id"]]["training"]["cpu_seconds"] >= trial["cpu_seconds"]


def test_costs_survive_runs_and_grow_by_what_is_done_again(study: tuple[dict, Path, dict]) -> None:
    content, run, summary = study
    first, rows = summary["costs"], (run / "rows.parquet").read_bytes()
    assert run_here(content, run)["costs"] == first  # nothing was done
    shard = next(run.glob("trials/*/rows/*/*.parquet"))
    shard.unlink()
    second = run_here(content, run)["costs"]
    assert (run / "rows.parquet").read_bytes() == rows
    assert second["phases"]["measuring"]["attempts"] == 3
    assert second["phases"]["measuring"]["cpu_seconds"] > first["phases"]["measuring"]["cpu_seconds"]
    assert second["phases"]["training"] == first["phases"]["training"]
    assert study_status(parse_spec(content, "test"), run).costs.total.cpu_seconds == second["total"]["cpu_seconds"]


def test_the_report_reads_them_and_engines_bring_them_back(study: tuple[dict, Path, dict]) -> None:
    content, run, _ = study
    costs = json.loads((run / "summary.json").read_text())["costs"]
    assert fields_json(read_summary(run / "summary.json").costs) == costs
    spec, layout = parse_spec(content, "test"), Layout(run)
    plan = plan_study(spec, load_dataset(spec.data))
    needs = Needs.of(plan, load_dataset(spec.data), spec.engine)
    (job,) = study_jobs([Task("measure", 0, (0, 1))], needs, layout)
    assert job.outputs[-1] == f"costs/{job.id}.json"
    (other,) = study_jobs([Task("measure", 0, (0,))], needs, layout)
    assert job.id != other.id


def test_a_damaged_note_is_left_out(study: tuple[dict, Path, dict]) -> None:
    content, run, _ = study
    note = {"kind": "train", "trials": [], "seconds": 1.0, "cpu_seconds": 1.0, "gpu_seconds": 0.0}
    before = run_here(content, run)["costs"]["total"]["attempts"]
    wrong = ({"kind": ["train"]}, {"seconds": [1.0]}, {"cpu_seconds": {}}, {"gpu_seconds": math.nan}, {"seconds": -1})
    damages = [json.dumps([note | each]) for each in wrong]
    for text in ("", "[1]", "{}", '[{"kind": "train"}]', *damages, json.dumps([note | {"kind": "no kind"}])):
        damaged = Layout(run).cost("train-damaged")
        damaged.write_text(text)
        try:
            assert read_attempts(damaged) == [] or "no kind" in text
            assert run_here(content, run)["costs"]["total"]["attempts"] == before > 0
        finally:
            damaged.unlink()
    assert json.loads((run / "summary.json").read_text())["costs"]["total"]["attempts"] > 0
