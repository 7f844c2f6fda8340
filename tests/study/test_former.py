"""Runs of a former rule: summed up anew from their rows by the study, and refused in a sentence by all else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from study_support import tangency, tiny_spec, write_data, write_spec
from tangency.errors import RunError
from tangency.report import write_report
from tangency.study import load_run, parse_spec, run_study
from tangency.study.trials import SavedTrial

pytestmark = pytest.mark.processes


def networks(run: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run.glob("trials/*/model.safetensors")}


@pytest.mark.slow
def test_a_run_of_the_former_rule_is_labelled_anew_without_training(tmp_path: Path) -> None:
    content = tiny_spec(write_data(tmp_path))
    former = run_study(parse_spec(content | {"rule": "kappa"}, "test"), tmp_path / "run")
    assert former["regimes"]["rule"] == "kappa"
    assert not [trial for trial in former["trials"] if trial["objective"] == "filtered"]
    before = networks(tmp_path / "run")
    summary = run_study(parse_spec(content, "test"), tmp_path / "run", replace=True)
    assert networks(tmp_path / "run") == before
    assert summary["regimes"]["rule"] == "regimes"
    assert [trial["id"] for trial in summary["trials"]][-1] == "filtered-s0"
    assert all("verdict" in trial for trial in summary["trials"])
    write_report(tmp_path / "run")


@pytest.mark.slow
def test_a_summary_of_another_schema_is_refused_everywhere_and_made_anew_by_the_study(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path), sweep=[{"objective": "standard"}]))
    run = tmp_path / "run"
    made = run_study(spec, run)
    path, before = run / "summary.json", networks(run)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 1}))
    sentence = "has schema 1, expected 2: its labels are those of another version's rule"
    with pytest.raises(RunError, match=sentence):
        load_run(run)
    with pytest.raises(RunError, match=sentence):
        write_report(run)
    with pytest.raises(RunError, match=sentence):
        SavedTrial(run / "trials" / "standard-0-s0", f"run:{run}/trials/standard-0-s0").rows()
    refused = tangency("report", run)
    assert refused.returncode == 2
    assert "another version's rule" in " ".join(refused.stderr.split())
    again = run_study(spec, run)
    assert networks(run) == before
    assert again["trials"] == made["trials"]
    assert load_run(run).trials == ("untrained-s0", "standard-0-s0", "filtered-s0")
