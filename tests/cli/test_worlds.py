"""`tangency worlds`: JSON, tables, exit codes, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study_support import called
from tangency.cli.app import app
from tangency.cli.show import worlds as show_worlds
from tangency.theory import Claim


def run(*arguments: str):
    return CliRunner().invoke(app, ["worlds", *arguments])


def test_list_says_what_is_undefined_and_why() -> None:
    found = {world["name"]: world for world in json.loads(run("list", "--json").output)}
    assert list(found) == ["linear", "offset", "rotated", "fitted", "sphere", "torus", "distractor", "decoder"]
    assert found["linear"]["undefined"] == {}
    assert found["sphere"]["undefined"].keys() == {"density, score, denoiser"}
    assert "posterior, Bayes direction" in found["offset"]["undefined"]
    assert found["linear"]["options"]["shape"] == "1x16x16"
    assert "undefined at σ = 0" in run("list").output


def test_check_of_one_world_prints_its_claims() -> None:
    result = run("check", "--world", "linear?shape=1x4x4&rank=2", "--json")
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert found["pass"] is True
    assert {"claim", "world", "expected", "measured", "tolerance", "pass"} <= set(found["claims"][0])
    assert all(claim["pass"] for claim in found["claims"])
    table = run("check", "--world", "linear?shape=1x4x4&rank=2").output
    assert f"{len(found['claims'])} claims checked, 0 failed." in table
    assert "E[s_σ xᵀ] = −I, on the diagonal" in table  # brackets are no markup


def test_a_failed_claim_is_exit_code_1_and_shown_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = [Claim("t", "same", "a", 0, 0, 1), Claim("t", "same", "b", 0, 2, 1), Claim("t", "same", "c", 0, 0.5, 1)]
    monkeypatch.setattr("tangency.theory.steps", lambda world, seed: [("t", lambda: claims)])
    result = run("check")
    assert result.exit_code == 1
    assert "3 claims checked, 1 failed." in result.output
    assert "FAIL" in result.output
    folded = show_worlds._folded(claims)
    assert [(c.world, n) for c, n in folded] == [("c", 2), ("b", 1)]  # failures last


@pytest.mark.slow
def test_a_trial_in_json_in_a_file_and_as_tables(tmp_path: Path) -> None:
    quick = ["--world", "linear?shape=1x6x6&rank=3", "--train", "300", "--limit", "30", "--datasets", "10"]
    result = run("trial", *quick, "--tangents", "pca", "--score", "exact", "--out", str(tmp_path / "t.json"), "--json")
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert found == json.loads((tmp_path / "t.json").read_text())
    assert found["tangents"]["mean_angle_degrees"]["mean"] < 5
    assert found["score"][0]["score_error"] == 0
    table = run("trial", *quick, "--tangents", "exact", "--score", "exact").output
    assert "largest principal angle" in table
    assert "coverage" in table


@pytest.mark.slow
@pytest.mark.processes
def test_the_distractor_study_prints_a_curve(tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    path = tmp_path / "small.npz"
    pixels = rng.integers(0, 255, size=(80, 8, 8), dtype=np.uint8)
    labels = np.arange(80) % 2
    pixels[labels == 1, :4] //= 4
    np.savez(path, train_images=pixels[:60], train_labels=labels[:60], test_images=pixels[60:], test_labels=labels[60:])
    result = run("distractor", "--data", f"npz:{path}", "--out", str(tmp_path / "run"), "--epochs", "1", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output[result.output.index("{") :])
    assert found["data"]["shape"] == [1, 16, 8]
    assert len(found["noise_curves"]["sigmas"]) == 10
    assert 0.5 in found["noise_curves"]["sigmas"]
    again = run("distractor", "--data", f"npz:{path}", "--out", str(tmp_path / "run"), "--epochs", "1")
    assert "minus standard at σ = 0.5" in again.output
    assert "untrained-s0 minus" not in again.output


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "--world", "spere"], "Did you mean 'sphere'"),
        (["check", "--world", "sphere?rank=two"], "rank=two, expected a whole number"),
        (["check", "--world", "linear?shape=8x8"], "expected CxHxW"),
        (["check", "--world", "linear?rank=256"], "expected 1 to 255"),
        (["check", "--world", "distractor?shape=1x7x4"], "expected an even one"),
        (["check", "--world", "fitted?components=400"], "expected at least 800"),
        (["trial", "--tangents", "isomap"], "unknown kind of tangents 'isomap'"),
        (["trial", "--limit", "2"], "--limit: got 2"),
        (["distractor", "--data", "nowhere"], "unknown data set 'nowhere'"),
    ],
)
def test_bad_input_is_one_paragraph(tmp_path: Path, arguments: list[str], words: str) -> None:
    out = ["--out", str(tmp_path / "run")] if arguments[0] == "distractor" else []
    result = called("worlds", *arguments, *out)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
