"""Pages of runs that are not as one would wish: unfinished, without pictures, of one image; and of two runs at once."""

import json
import re
import shutil

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from report.helpers import embedded, page_of, rewrite, visible
from report.large_run import IMAGES, build_large_run
from report.synthetic_run import build_run
from tangency.cli.app import app
from tangency.errors import RunError
from tangency.report import write_report
from tangency.report.page.study import render_study
from tangency.report.read.run import read_run

MARKUP = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that no test changes."""
    return build_run(tmp_path_factory.mktemp("states") / "run")


@pytest.fixture
def unfinished(whole, tmp_path):
    """A run that ended in the middle: two trainings, one of them half measured."""
    folder = tmp_path / "half"
    for name, outcome in (("a", "ok"), ("b", "diverged")):
        trial = folder / "trials" / name
        (trial / "rows" / "0123").mkdir(parents=True)
        (trial / "trial.json").write_text(json.dumps({"id": f"{MARKUP}{name}-s0", "outcome": outcome}))
    (folder / "trials" / "a" / "rows" / "0123" / "3-77-125.parquet").write_bytes(b"")
    going = {"phase": "measuring", "jobs": 9, "done": 4, "share": 0.4, "left": None, "running": [], "lost": []}
    (folder / "progress.json").write_text(json.dumps(going | {"written": 1.0, "dashboard": ""}))
    shutil.copy(whole / "spec.yaml", folder)
    return folder


def test_an_unfinished_run_says_so_and_how_it_goes_on(unfinished):
    page = write_report(unfinished).read_text(encoding="utf-8")
    text = " ".join(visible(page).split())
    assert "This run is not finished" in text
    assert "2 trials have ended their training, 1 of them have measured images" in text
    assert "No process works on it now; its last phase was “measuring”, with 4 of 9 jobs done." in text
    assert f"tangency study run {unfinished.name}/spec.yaml --out {unfinished.name}" in text
    assert re.search(r"a-s0 ok 125", text)
    assert re.search(r"b-s0 diverged 0", text)
    assert MARKUP in text
    assert MARKUP not in page
    assert "<script" not in page
    assert not (unfinished / "report" / "figures").exists()


def test_damaged_files_of_an_unfinished_run_are_named(unfinished):
    (unfinished / "trials" / "a" / "trial.json").write_text("{")
    (unfinished / "progress.json").write_text('{"running": []}')
    text = visible(write_report(unfinished).read_text(encoding="utf-8"))
    assert "trial.json" in text
    assert "1 trials have ended" in text


def test_an_unfinished_run_is_no_second_one(whole, unfinished):
    with pytest.raises(RunError, match=r"summary\.json' is missing"):
        write_report(whole, unfinished)


def test_a_finished_run_replaces_the_page_of_the_unfinished_one(whole, unfinished):
    write_report(unfinished)
    shutil.copytree(whole, unfinished, dirs_exist_ok=True)
    assert "not finished" not in page_of(unfinished)


def test_a_run_without_pictures_has_a_page(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "blind")
    (run / "artefacts" / "pictures.safetensors").unlink()
    page = page_of(run)
    assert "This run kept no pictures." in visible(page)
    assert embedded(page)["explorer"]["pictures"] is None
    assert 'id="p-' not in page


def test_a_run_of_one_image_has_a_page(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "one")
    rows = pl.read_parquet(run / "rows.parquet")
    rows.filter(pl.col("image") == 3).write_parquet(run / "rows.parquet")
    path = run / "artefacts" / "pictures.safetensors"
    held = load_file(path)
    one = {name: np.ascontiguousarray(values[3:4]) for name, values in held.items()}
    save_file(one, path)
    images = embedded(page_of(run))["explorer"]["images"]
    assert (images["count"], images["ids"], images["pictured"], images["labels"]) == (1, [3], [0], [3])


def test_rows_of_other_trials_only_leave_the_numbers_by_image_out(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "foreign")
    rows = pl.read_parquet(run / "rows.parquet").with_columns(pl.lit("another").alias("trial"))
    rows.write_parquet(run / "rows.parquet")
    explorer = embedded(page_of(run))["explorer"]
    assert explorer["keys"] == []
    assert explorer["images"]["count"] == 0


def test_two_runs_on_one_page(whole, tmp_path):
    other = shutil.copytree(whole, tmp_path / "other")
    rewrite(other, lambda summary: summary.update(name=f"other {MARKUP}"))
    page = render_study(read_run(whole), read_run(other))
    found = re.search(r'<script type="application/json" id="run-data-2">(.*?)</script>', page, re.DOTALL)
    second = json.loads(found[1])
    assert second["name"] == f"other {MARKUP}"
    assert second["explorer"]["pictures"] is None
    blocks = [entry["block"] for entry in second["explorer"]["keys"]]
    assert all(block.startswith("r2-") for block in blocks)
    held = dict(re.findall(r'<script type="application/octet-stream" id="([^"]+)">([^<]*)</script>', page))
    own = {entry["key"]: held[entry["block"]] for entry in embedded(page)["explorer"]["keys"]}
    assert {entry["key"]: held[entry["block"]] for entry in second["explorer"]["keys"]} == own
    assert 'id="run-data-2"' not in page_of(whole)


def test_the_command_takes_a_second_run(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("tangency.report.write.write_figures", lambda *_: None)
    run = shutil.copytree(whole, tmp_path / "run")
    done = CliRunner().invoke(app, ["report", str(run), "--against", str(whole)])
    assert done.exit_code == 0, done.output
    assert 'id="run-data-2"' in (run / "report" / "index.html").read_text(encoding="utf-8")
    exported = json.loads((run / "report" / "run.json").read_text(encoding="utf-8"))
    assert exported["schema"] == 1
    assert exported["data"]["name"] == "quickstart"
    measured = tmp_path / "measured"
    measured.mkdir()
    refused = CliRunner().invoke(app, ["report", str(measured), "--against", str(whole)])
    assert isinstance(refused.exception, RunError)
    assert "--against: a leaderboard has all its models on one page" in str(refused.exception)


@pytest.mark.slow
def test_the_page_of_a_thousand_images_and_thirty_strengths_is_forty_megabytes_at_most(tmp_path):
    run = read_run(build_large_run(tmp_path / "run"))
    page = render_study(run)
    assert len(page.encode()) <= 40_000_000
    data = embedded(page)
    assert data["explorer"]["images"]["count"] == IMAGES
    strengths = {(own["objective"], own["strength"]) for own in data["trials"] if own["strength"]}
    assert len({objective for objective, _ in strengths}) == 3
    assert len(strengths) >= 30
    both = render_study(run, run)
    assert len(both.encode()) <= 44_000_000
