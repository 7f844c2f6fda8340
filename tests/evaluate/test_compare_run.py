"""Trials of a study and models measured from it: compared, given a regime, and set beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from study_support import tiny_spec, write_data
from tangency.cli.app import app
from tangency.errors import ModelError, RunError, SpecError
from tangency.evaluate import MeasureRequest, measure_models
from tangency.evaluate.classifiers.saved import find_classifier
from tangency.evaluate.compare import compare
from tangency.models import build, save_classifier
from tangency.report import write_leaderboard
from tangency.study import parse_spec, quickstart_spec, run_study

pytestmark = pytest.mark.processes


def _measured(model: str, **asked: Any) -> dict[str, Any]:
    return measure_models(MeasureRequest((model,), **asked))[0].to_json()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study: untrained, standard, gradient_norm; no test changes it."""
    folder = tmp_path_factory.mktemp("compared")
    data = write_data(folder)
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1]}]
    run_study(parse_spec(tiny_spec(data, sweep=sweep, measured=30, shard=15), "test"), folder / "run")
    return folder / "run"


def trial(run: Path, name: str) -> str:
    return f"run:{run}/trials/{name}"


def test_two_trials_are_compared_by_id_and_by_hash(run: Path) -> None:
    a, b = trial(run, "standard-0-s0"), trial(run, "gradient_norm-0.1-s0")
    shown = CliRunner().invoke(app, ["compare", a, b, "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.output)
    summary = {t["id"]: t for t in json.loads((run / "summary.json").read_text())["trials"]}
    row = next(row for row in found["measures"] if row["key"] == "kappa.margin")
    expected = [summary[name]["measures"]["kappa.margin"]["mean"] for name in ("standard-0-s0", "gradient_norm-0.1-s0")]
    assert [row["a"]["mean"], row["b"]["mean"]] == pytest.approx(expected)
    by_hash = compare(trial(run, summary["standard-0-s0"]["train_hash"]), b)
    assert by_hash.to_json()["measures"] == found["measures"]
    assert "shown to differ" in CliRunner().invoke(app, ["compare", a, b]).output


def test_the_summary_has_p_values_and_effects(run: Path) -> None:
    trials = json.loads((run / "summary.json").read_text())["trials"]
    for entry in trials:
        for excess in entry["excess"].values():
            assert 0 < excess["p"] <= 1
            assert {"dz", "null_sd"} <= excess.keys()
            assert ("p_holm" in excess) == (entry["objective"] not in ("untrained", "filtered"))


def test_an_unknown_trial_is_named(run: Path) -> None:
    with pytest.raises(RunError, match="Did you mean 'standard-0-s0'"):
        compare(trial(run, "standard-0-s1"), trial(run, "standard-0-s0"))


def test_measuring_a_trial_again_gives_what_the_study_found(run: Path, tmp_path: Path) -> None:
    name = trial(run, "standard-0-s0")
    measured = _measured(name, limit=30, out=tmp_path / "standard")
    found = compare(name, str(tmp_path / "standard"))
    assert found.images == 30
    assert found.warnings == []
    for row in found.measures:
        assert row.difference.mean == pytest.approx(0, abs=1e-6), row.key
    assert measured["regime"]["regime"] is None
    assert "statement about a sweep" in measured["regime"]["text"]
    assert "κ = " in measured["regime"]["text"]
    assert "best control" in measured["regime"]["text"]


def test_a_regime_needs_a_baseline_and_is_that_of_the_study(run: Path, tmp_path: Path) -> None:
    own_model, base = trial(run, "gradient_norm-0.1-s0"), trial(run, "standard-0-s0")
    options = ["measure", "--model", own_model, "--limit", "30", "--baseline", base, "--out", str(tmp_path / "m")]
    shown = CliRunner().invoke(app, [*options, "--json"])
    assert shown.exit_code == 0, shown.output
    regime = json.loads(shown.output)["regime"]
    entry = {t["id"]: t for t in json.loads((run / "summary.json").read_text())["trials"]}["gradient_norm-0.1-s0"]
    assert regime["regime"] == regime["verdict"]["regime"] == entry["regime"]
    assert regime["rule"] == "regimes"
    assert regime["verdict"]["unit"] == "images"
    (own,), (studied,) = (verdict["aligned"].values() for verdict in (regime["verdict"], entry["verdict"]))
    for name in ("alignment", "over_standard", "over_filter"):
        for end in ("mean", "low", "high"):
            assert own[name][end] == pytest.approx(studied[name][end], abs=1e-6)
    assert set(regime["verdict"]["sensitivity"]) == {"0.02", "0.05", "0.1"}
    (kept,) = (tmp_path / "m" / "shards").glob("filters-*.json")
    before = kept.stat().st_mtime_ns
    said = CliRunner().invoke(app, [*options, "--all"])
    assert "; − that of the baseline behind" in said.output
    assert "not of other seeds" in said.output
    assert "filters before the baseline" not in said.stderr  # chosen before
    assert kept.stat().st_mtime_ns == before
    kept.write_text("{")
    again = _measured(own_model, limit=30, baseline=base, out=tmp_path / "m")["regime"]
    assert again["verdict"] == regime["verdict"]  # a damaged file is made anew


def test_the_former_rule_has_its_bands_and_chooses_no_filters(run: Path, tmp_path: Path) -> None:
    own, base = trial(run, "gradient_norm-0.1-s0"), trial(run, "standard-0-s0")
    options = ["--model", own, "--limit", "30", "--baseline", base, "--rule", "kappa"]
    said = CliRunner().invoke(app, ["measure", *options, "--out", str(tmp_path / "m")])
    assert said.exit_code == 0, said.output
    assert "simultaneous 95 % bands" in said.output
    assert not list((tmp_path / "m" / "shards").glob("filters-*"))
    regime = json.loads((tmp_path / "m" / "summary.json").read_text())["regime"]
    assert regime["rule"] == "kappa"
    assert regime["bands"]["kappa_ratio"][0] <= regime["bands"]["kappa_ratio"][1]
    assert set(regime["sensitivity"]) == {"0.02", "0.05", "0.1"}
    untrained = _measured(own, limit=20, baseline=trial(run, "untrained-s0"), rule="kappa")["regime"]
    assert untrained["regime"] is None
    assert "baseline is not shown to be above a constant answer" in untrained["text"]
    wrong = CliRunner().invoke(app, ["measure", *options[:-1], "kapa"])
    assert isinstance(wrong.exception, SpecError)
    assert "rule" in str(wrong.exception)


def test_a_baseline_that_is_not_standard_is_warned_of_and_one_that_guesses_is_none(run: Path) -> None:
    own, other = trial(run, "standard-0-s0"), trial(run, "gradient_norm-0.1-s0")
    found = _measured(own, limit=30, baseline=other)["regime"]
    assert "trained with gradient_norm" in found["warnings"][0]
    untrained = _measured(own, limit=30, baseline=trial(run, "untrained-s0"))["regime"]
    assert untrained["regime"] == "undetermined"
    assert "the standard network is collapsed, and so no baseline" in untrained["text"]
    with pytest.raises(ModelError):
        _measured(own, limit=30, baseline="nothing.onnx")


def test_a_baseline_of_another_architecture_is_warned_of_in_folder_and_leaderboard(run: Path, tmp_path: Path) -> None:
    own = find_classifier(trial(run, "standard-0-s0"), "cpu").classifier
    other = build("convnet", own.card.shape, own.card.classes, channels=[4, 4, 4])
    save_classifier(other, tmp_path / "other.safetensors")
    found = _measured(
        trial(run, "standard-0-s0"), limit=20, baseline=str(tmp_path / "other.safetensors"), out=tmp_path / "m"
    )
    (said,) = [warning for warning in found["warnings"] if "another architecture" in warning]
    assert "channels [4, 4, 4]" in said
    page = write_leaderboard([str(tmp_path / "m")], tmp_path / "out").read_text(encoding="utf-8")
    assert "The baseline has another architecture" in page
    same = _measured(trial(run, "standard-0-s0"), limit=20, baseline=trial(run, "gradient_norm-0.1-s0"))
    assert not [warning for warning in same["warnings"] if "another architecture" in warning]


def test_trials_and_measured_models_share_a_leaderboard(run: Path, tmp_path: Path) -> None:
    _measured(trial(run, "standard-0-s0"), limit=30, out=tmp_path / "measured")
    references = [str(tmp_path / "measured"), trial(run, "gradient_norm-0.1-s0"), trial(run, "untrained-s0")]
    text = write_leaderboard(references, tmp_path / "out").read_text(encoding="utf-8")
    assert "3 measured models on 1 data set" in text
    assert "Settings differ" not in text
    assert "Gradient, gradients measured: test picture 1" in text


@pytest.mark.slow
def test_the_example_of_the_help_runs_on_the_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.3]}]
    run_study(quickstart_spec(train={"epochs": 1}, sweep=sweep, measured=100), Path("runs/quickstart"))
    help_text = " ".join(CliRunner().invoke(app, ["compare", "--help"], terminal_width=400).output.split())
    references = ["run:runs/quickstart/trials/standard-0-s0", "run:runs/quickstart/trials/gradient_norm-0.3-s0"]
    assert f"Example: tangency compare {' '.join(references)}" in help_text
    shown = CliRunner().invoke(app, ["compare", *references])
    assert shown.exit_code == 0, shown.output
    assert "fashion-mnist-5k: 100 images that both have" in shown.output
