"""`tangency tangents` and `measure --tangents`: JSON, files, exit codes, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study_support import called, write_data
from tangency.cli.app import app
from tangency.data import load
from tangency.models import build, save_classifier

WORLD = "world:torus?shape=1x8x8&rank=2&train=200&test=40"


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_fit_examine_and_store(tmp_path: Path) -> None:
    out = tmp_path / "ae"
    fit = ("tangents", "fit", "--data", WORLD, "--out", str(out), "--latent", "4", "--width", "4", "--epochs", "1")
    first = run(*fit, "--json")
    assert first.exit_code == 0, first.output
    told = json.loads(first.output)
    assert told["outcome"] == "ok"
    assert json.loads(run(*fit, "--json").output)["history"] == told["history"]  # not trained again
    assert "tangency tangents eval" in run(*fit).output
    asked = f"exact,{told['autoencoder']}?rank=2,pca?rank=2"
    quick = ("--limit", "20", "--floor", "10", "--out", str(tmp_path / "eval"))
    examined = run("tangents", "eval", asked, "--data", WORLD, *quick, "--json")
    assert examined.exit_code == 0, examined.output
    found = json.loads(examined.output)
    assert [entry["name"] for entry in found["estimators"]] == ["exact", "autoencoder", "pca"]
    assert json.loads((tmp_path / "eval" / "tangents.json").read_text()) == found
    shown = run("tangents", "eval", asked, "--data", WORLD, *quick).output
    assert found["verdict"]["words"] in shown
    assert "On worlds of this size and rank" in shown
    kept = tmp_path / "stored"
    stored = run("tangents", "store", "local-pca?rank=2", "--data", WORLD, "--out", str(kept))
    assert stored.exit_code == 0, stored.output
    assert "40 images at rank ≤ 2: 0.0 MB in 1 files" in stored.output
    again = run("tangents", "eval", f"stored:{kept},local-pca?rank=2", "--data", WORLD, *quick, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.output)["agreement"][0]["overlap"]["mean"] == pytest.approx(1, abs=1e-4)


def test_measure_takes_several(tmp_path: Path) -> None:
    data = f"npz:{write_data(tmp_path)}"
    classes = load(data).train.classes
    save_classifier(build("convnet", (1, 8, 8), classes, seed=0), tmp_path / "net.safetensors")
    measured = run(
        "measure",
        "--model",
        str(tmp_path / "net.safetensors"),
        "--data",
        data,
        "--limit",
        "10",
        "--tangents",
        "local-pca?rank=3&neighbours=10, pca?rank=3",
        "--json",
    )
    assert measured.exit_code == 0, measured.output
    found = json.loads(measured.output)["measures"]
    plain = found["tangent_fraction.margin.pca"]["mean"]
    assert found["tangent_fraction.margin.tangents=pca"]["mean"] == pytest.approx(plain, abs=1e-5)
    assert found["tangent_fraction.margin"]["chance"] == pytest.approx(3 / 64)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eval", "mffa", "--data", WORLD), "Did you mean 'mfa'"),
        (("eval", ",", "--data", WORLD), "tangents: got none"),
        (("eval", "autoencoder:nowhere.safetensors", "--data", WORLD), "no such file"),
        (("eval", "mfa?rank=64", "--data", WORLD), "got 64 for images of 64 pixels"),
        (("store", "stored:", "--data", WORLD, "--out", "OUT"), "unknown tangent spaces 'stored:'"),
        (("eval", "autoencoder?latent=64", "--data", WORLD), "got 64 for images of 64 pixels"),
        (("eval", "autoencoder?latent=4&rank=5", "--data", WORLD), "got rank 5 for a code of 4 numbers"),
        (("eval", "autoencoder?latent=4&rank=bogus", "--data", WORLD), "expected a number of at least 1 or one of"),
        (("eval", "local-pca?neighbours=1000", "--data", WORLD), "expected at most that many"),
        (("eval", "pca,pca", "--data", WORLD), "expected each of them once"),
        (("eval", "local-pca?rank=relative&tolerance=nan", "--data", WORLD), "expected a share of the largest value"),
        (("fit", "--data", WORLD, "--out", "OUT", "--latent", "64"), "got 64 for images of 64 pixels"),
        (("fit", "--data", "nothing", "--out", "OUT"), "unknown data set"),
    ],
)
def test_bad_input_is_one_paragraph_and_code_two(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    found = called("tangents", *(str(tmp_path / "out") if a == "OUT" else a for a in arguments))
    assert found.returncode == 2, found.stderr
    assert said in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr
