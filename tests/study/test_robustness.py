"""Studies on a bad day: Ctrl-C, a full disk, damaged files, odd specs, folders that are not theirs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from processes import PATIENCE, Processes, members, until
from study_support import called, tiny_spec, write_data, write_spec
from tangency.data import load
from tangency.errors import DataError, ModelError, RunError, SpecError
from tangency.evaluate import MeasureRequest, measure_models
from tangency.files import atomic, write_json
from tangency.report import write_report
from tangency.study import load_spec, parse_spec, run_study
from tangency.study.layout import Layout
from tangency.study.plan import pictured_images, plan_trials

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """A spec and its finished run."""
    folder = tmp_path_factory.mktemp("finished")
    content = tiny_spec(write_data(folder))
    run_study(parse_spec(content, "test"), folder / "run")
    return content, folder / "run"


@pytest.mark.slow
def test_ctrl_c_is_one_sentence_and_leaves_no_process(tmp_path: Path, processes: Processes) -> None:
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path), train={"epochs": 100_000}, workers=2))
    journal = tmp_path / "journal"
    command = [sys.executable, "-m", "tangency", "study", "run", str(spec), "--out", str(tmp_path / "run")]
    environment = {"OMP_NUM_THREADS": "1", "TANGENCY_JOURNAL": str(journal)}
    study = processes.start(command, environment, stderr=subprocess.PIPE, text=True)
    until(lambda: study.poll() is not None or (journal.exists() and "train.step" in journal.read_text()), "a step")
    assert study.poll() is None
    os.killpg(study.pid, signal.SIGINT)  # as a terminal does: driver and workers alike
    _, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("interrupted; finished parts of a study")
    until(lambda: not members(study.pid), "the workers end")


@pytest.mark.parametrize(
    "refusal", [OSError(28, "No space left on device"), ValueError("I/O error: No space left (os error 28)")]
)
def test_a_full_disk_is_a_sentence_and_the_old_file_stays(refusal: Exception, tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)

    def fail() -> None:
        with atomic(tmp_path / "a.json") as temporary:
            temporary.write_text("half")
            raise refusal

    with pytest.raises(RunError, match=r"a\.json': cannot be written .*No space left"):
        fail()
    assert json.loads((tmp_path / "a.json").read_text()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.json", tmp_path):
        with pytest.raises(RunError, match="cannot be written"):
            write_json(path, 1)


def test_a_spec_of_the_user_is_not_overwritten(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path)))
    before = spec.read_text()
    with pytest.raises(RunError, match=r"holds a spec\.yaml that no run wrote"):
        run_study(load_spec(spec), tmp_path)
    assert spec.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spec.yaml", "tiny.npz"]


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/b", "..", "", "x" * 300])
def test_a_name_leads_to_no_other_folder(name: str, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path), name=name))
    done = called("study", "run", spec)
    assert done.returncode == 2
    assert "cannot be a folder in runs/" in " ".join(done.stderr.split())


def test_damaged_rows_and_pictures_are_made_again(finished: tuple[dict, Path]) -> None:
    content, run = finished
    rows = (run / "rows.parquet").read_bytes()
    shard = sorted(run.glob("trials/*/rows/*/*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:100])
    (run / "artefacts" / "pictures.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    run_study(parse_spec(content, "test"), run)
    assert (run / "rows.parquet").read_bytes() == rows
    write_report(run)


def test_a_shard_that_lacks_a_row_or_whose_pages_are_damaged_is_measured_again(
    finished: tuple[dict, Path],
) -> None:
    """Its footer is fine in both."""
    spec, run = finished
    before = (run / "rows.parquet").read_bytes()
    shards = sorted((run / "trials").glob("*/rows/*/*.parquet"))
    table = pl.read_parquet(shards[0])
    table.head(len(table) - 1).write_parquet(shards[0])
    content = shards[1].read_bytes()
    shards[1].write_bytes(content[:40] + bytes(40) + content[80:])
    assert pl.read_parquet_schema(shards[1])
    run_study(parse_spec(spec, "test"), run)
    assert (run / "rows.parquet").read_bytes() == before


def test_a_damaged_outcome_is_named(finished: tuple[dict, Path]) -> None:
    content, run = finished
    path = sorted(run.glob("trials/*/trial.json"))[0]
    whole = path.read_text()
    for damaged in ("{}", "[]", "{"):
        path.write_text(damaged)
        with pytest.raises(RunError, match=r"trial\.json.*delete it"):
            run_study(parse_spec(content, "test"), run)
    path.write_text(whole)


def test_another_number_of_pictures_is_drawn_anew(finished: tuple[dict, Path]) -> None:
    content, run = finished
    spec = parse_spec(content | {"pictures": 5}, "test")
    run_study(spec, run, extend=True)
    shown = Layout(run).pictured()
    assert shown is not None
    assert shown[1] == pictured_images(spec, load(spec.data))
    assert len(shown[1]) == 5


def test_the_time_between_checkpoints_retrains_nothing(finished: tuple[dict, Path]) -> None:
    content, _ = finished
    data = load(content["data"])
    often = content | {"train": {**content["train"], "checkpoint_seconds": 1.0}}
    hashes = [[t.train_hash for t in plan_trials(parse_spec(c, "t"), data)] for c in (content, often)]
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_best_weights_are_measured_alone_as_in_the_study(tmp_path: Path) -> None:
    content = tiny_spec(write_data(tmp_path), weights="best", sweep=[{"objective": "standard"}])
    summary = run_study(parse_spec(content, "test"), tmp_path / "run")
    folder = tmp_path / "run" / "trials" / summary["trials"][1]["train_hash"]
    best = (folder / "best.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(b"not the best")
    assert best
    found = measure_models(MeasureRequest((f"run:{folder}",), limit=12))[0]
    expected = summary["trials"][1]["measures"]["accuracy"]["mean"]
    assert found.measures["accuracy"].mean == pytest.approx(expected)


def test_a_classifier_is_not_measured_on_other_classes_or_sizes(finished: tuple[dict, Path], tmp_path: Path) -> None:
    _, run = finished
    model = f"run:{run}/trials/standard-0-s0"
    labels = np.arange(30) % 4
    np.savez(tmp_path / "four.npz", images=np.random.default_rng(0).random((30, 8, 8)), labels=labels)
    with pytest.raises(ModelError, match="its 3 classes are 0, 1, 2"):
        measure_models(MeasureRequest((model,), f"npz:{tmp_path / 'four.npz'}"))[0]
    with pytest.raises(ModelError, match="takes images of shape"):
        measure_models(MeasureRequest((model,), "fashion-mnist-5k"))[0]


SWEEP = [{"objective": "standard"}]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sweep": [{"objective": "gradient_norm", "options": {"strength": 3}}]}, "'strength' is no option"),
        ({"sweep": [{"objective": "gradient_norm", "options": {"legacy": "pags"}}]}, "'legacy' is no option"),
        ({"model": {"options": {"seed": 3}}}, "'seed' is no option"),
        ({"sweep": [{"objective": "standard", "strengths": []}]}, "at least 1"),
        ({"measures": {"epsilons": []}}, "epsilons: got none"),
        ({"measures": {"sigmas": []}}, "sigmas: got none"),
        ({"measures": {"tangent_scalars": ["logp_y"]}}, "expected margin among them"),
        ({"seeds": [2**70]}, r"seeds: got \[1180591620717411303424\], expected less than"),
        ({"train": {"seed": 3}}, "use seeds"),
        ({"pictures": 0}, "pictures"),
    ],
)
def test_odd_specs_are_refused_before_anything_runs(changes: dict, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        parse_spec({"sweep": SWEEP} | changes, "spec")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"score": {"rank": 64}}, r"score\.rank: got 64 for images of 64 values"),
        ({"score": {"components": 50, "rank": 3}}, "expected at least 100"),
        ({"train": {"batch_size": 1}, "model": {"options": {"norm": "batch"}}}, "a step has one image"),
    ],
)
def test_what_a_later_task_would_refuse_is_refused_first(changes: dict, complaint: str, tmp_path: Path) -> None:
    spec = parse_spec(tiny_spec(write_data(tmp_path), **changes), "spec")
    with pytest.raises((SpecError, DataError), match=complaint):
        run_study(spec, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["name: a\nname: b\nsweep: []", "name: 2024-99-99", "[" * 5000])
def test_yaml_that_pyyaml_takes_or_chokes_on_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(SpecError, match="not valid YAML"):
        load_spec(tmp_path / "spec.yaml")


@pytest.mark.slow
def test_legacy_and_default_of_one_objective_are_two_curves(tmp_path: Path) -> None:
    entry = {"objective": "gradient_norm", "strengths": [0.1]}
    content = tiny_spec(write_data(tmp_path), sweep=[*SWEEP, entry, entry | {"legacy": "pags"}])
    run_study(parse_spec(content, "test"), tmp_path / "run")
    page = write_report(tmp_path / "run").read_text()
    assert "as published" in page
    assert '{"id":"gradient_norm-pags"' in page
