"""`tangency measure --attacks`, and attacks in a study's spec."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from study_support import called, tiny_spec, write_data
from tangency.cli.app import app
from tangency.errors import SpecError
from tangency.evaluate import MeasureRequest, measure_models
from tangency.report import write_report
from tangency.study import parse_spec, run_study

pytestmark = pytest.mark.processes

ATTACKS = {"attacks": ["pgd_l2"], "l2_epsilons": [0.5], "steps": 2}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Reference of a trained trial of a study whose spec asks for an attack."""
    folder = tmp_path_factory.mktemp("attacked")
    content = tiny_spec(write_data(folder), sweep=[{"objective": "standard"}])
    content["measures"]["robustness"] = ATTACKS
    summary = run_study(parse_spec(content, "test"), folder / "run")
    assert "accuracy_pgd_l2.eps=0.5" in summary["trials"][0]["measures"]
    assert "Accuracy under PGD, ℓ₂" in write_report(folder / "run").read_text(encoding="utf-8")
    return f"run:{folder / 'run' / 'trials' / summary['trials'][1]['train_hash']}"


def test_what_is_named_is_measured(trial: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "worst_case:0.5:1,smoothing:0.1,pgd_linf:8/255"
    command = ["measure", "--model", trial, "--limit", "6", "--attacks", asked]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    measures = found["measures"]
    for key in ("worst_on.eps=0.5", "accuracy_worst_off.eps=1", "certified_radius.sigma=0.1"):
        assert measures[key]["n"] == 6
    assert measures["accuracy_pgd_linf.eps=0.0313725"]["mean"] <= measures["accuracy"]["mean"]
    assert measures["certified_accuracy.radius=0.25.sigma=0.1"]["chance"] == pytest.approx(1 / 3)
    assert "accuracy_pgd_l2.eps=0.5" not in measures
    assert not any("pgd" in warning for warning in found["warnings"])
    monkeypatch.setattr("tangency.evaluate.cautions.masking_warnings", lambda columns: ["pgd_l2: success falls"])
    printed = CliRunner().invoke(app, command).output
    assert "certified_radius.sigma=0.1" in printed
    assert "Warning: pgd_l2: success falls" in printed


def test_budgets_beyond_the_pixel_range_are_a_warning(trial: str) -> None:
    """As they are written for images in [0, 255]: measured as asked, and told."""
    command = ["measure", "--model", trial, "--limit", "4", "--attacks", "pgd_linf:8,pgd_l2:0.5:128"]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    told = [sentence for sentence in found["warnings"] if sentence.startswith("attacks: ")]
    assert ["ε = 128 lies beyond the l2 distance" in told[0], "likely meant as 128/255" in told[0]] == [True, True]
    assert ["ε = 8 lies beyond the range of pixels" in told[1], "likely meant as 8/255" in told[1]] == [True, True]
    assert len(told) == 2
    assert found["measures"]["accuracy_pgd_linf.eps=8"]["n"] == 4
    assert "Warning: attacks: pgd_linf with ε = 8" in CliRunner().invoke(app, command).output


def test_the_attacks_of_the_study_are_the_default(trial: str) -> None:
    found = measure_models(MeasureRequest((trial,), limit=4))[0]
    assert found.measures["accuracy_pgd_l2.eps=0.5"].n == 4


def test_an_unknown_attack_is_one_sentence() -> None:
    result = called("measure", "--model", "net.safetensors", "--data", "fashion-mnist-5k", "--attacks", "pgd")
    assert result.returncode == 2
    assert "unknown attack 'pgd'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("robustness", "complaint"),
    [
        ({"step": 3}, r"unknown key 'measures\.robustness\.step'\. Did you mean 'measures\.robustness\.steps'"),
        ({"attacks": ["pgd"]}, "unknown attack 'pgd'"),
        ({"draws": 5}, "always abstains"),
    ],
)
def test_odd_attacks_in_a_spec_are_refused(robustness: dict, complaint: str) -> None:
    content = {"sweep": [{"objective": "standard"}], "measures": {"robustness": robustness}}
    with pytest.raises(SpecError, match=complaint):
        parse_spec(content, "spec")
