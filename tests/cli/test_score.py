"""`tangency score` and `tangency convert`: JSON, files, exit codes, bad input."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from score.edm_fixture import edm_bytes, ncsn_oracle, persistent, precond
from study_support import called
from tangency.cli.app import app
from tangency.cli.tables import interval
from tangency.score import load_score
from tangency.tensors import read_tensors

WORLD = "world:linear?rank=3&classes=2&shape=1x8x8&train=128&test=60"
QUICK = ("--limit", "20", "--samples", "6", "--sigmas", "0.1,0.5")


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_train_examine_and_draw(tmp_path: Path) -> None:
    out = tmp_path / "net"
    fit = ("score", "fit", "--data", WORLD, "--out", str(out), "--size", "tiny", "--epochs", "1", "--json")
    first = run(*fit)
    assert first.exit_code == 0, first.output
    told = json.loads(first.output)
    assert told["outcome"] == "ok"
    assert json.loads(run(*fit).output)["history"] == told["history"]  # not trained again
    examined = run("score", "eval", told["score"], "--data", WORLD, *QUICK, "--out", str(tmp_path / "eval"), "--json")
    assert examined.exit_code == 0, examined.output
    found = json.loads(examined.output)
    assert found["report"] == str(tmp_path / "eval" / "index.html")
    assert json.loads((tmp_path / "eval" / "score.json").read_text())["verdict"] == found["verdict"]
    assert {p.name for p in (tmp_path / "eval" / "figures").iterdir()} == {
        f"denoising.{kind}" for kind in ("pdf", "svg", "png")
    }
    page = html.unescape((tmp_path / "eval" / "index.html").read_text())
    assert found["verdict"]["words"] in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    drawn = run(
        "score",
        "sample",
        told["score"],
        "--out",
        str(tmp_path / "drawn"),
        "--limit",
        "5",
        "--steps",
        "3",
        "--guidance",
        "2",
    )
    assert drawn.exit_code == 0, drawn.output
    assert read_tensors(tmp_path / "drawn" / "samples.safetensors")[0]["images"].shape == (5, 1, 8, 8)
    assert (tmp_path / "drawn" / "samples.png").stat().st_size > 100
    half = run("convert", told["score"], str(tmp_path / "half.safetensors"), "--half", "--json")
    assert json.loads(half.output)["card"]["network"] == "unet"
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * Path(told["score"]).stat().st_size


def test_a_published_network_is_converted(tmp_path: Path) -> None:
    options = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "model_channels": 32, "label_dim": 0}
    options |= {"channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], "augment_dim": 0}
    file = tmp_path / "edm.pkl"
    file.write_bytes(edm_bytes(precond(persistent(ncsn_oracle("ddpm", **options), options))))
    for source in (str(file), f"edm:{file}"):
        result = run("convert", source, str(tmp_path / "net.safetensors"), "--json")
        assert result.exit_code == 0, result.output
    assert json.loads(result.output)["card"]["licence"] == "CC BY-NC-SA 4.0"
    again, x = load_score(str(tmp_path / "net.safetensors")), torch.rand(2, 3, 8, 8)
    assert torch.equal(again.denoise(x, 0.3), load_score(f"edm:{file}").denoise(x, 0.3))
    assert "CC BY-NC-SA" in run("convert", source, str(tmp_path / "net.safetensors")).output


def test_tables_say_what_json_says() -> None:
    found = json.loads(run("score", "eval", "gaussian", "--data", WORLD, *QUICK, "--json").output)
    table = run("score", "eval", "gaussian", "--data", WORLD, *QUICK).output
    assert found["verdict"]["words"] in table
    assert "E[sxᵀ]=−I" in table  # brackets are no markup
    for level in found["noise_levels"]:
        assert interval(level["mse"]) in table


def test_a_score_that_is_fitted_can_be_drawn_from(tmp_path: Path) -> None:
    result = run(
        "score",
        "sample",
        "mfa?rank=2&components=1",
        "--data",
        WORLD,
        "--out",
        str(tmp_path),
        "--limit",
        "3",
        "--class",
        "1",
        "--json",
    )
    assert json.loads(result.output)["count"] == 3
    assert read_tensors(tmp_path / "samples.safetensors")[0]["labels"].tolist() == [1, 1, 1]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score", "eval", "mfaa", "--data", WORLD), "mfa"),
        (("score", "eval", "mfa", "--data", "nowhere"), "nowhere"),
        (("score", "eval", "edm:nowhere.pkl", "--data", WORLD), "nowhere.pkl"),
        (("score", "eval", "mfa", "--data", WORLD, "--sigmas", "0.1;0.2"), "commas between"),
        (("score", "eval", "mfa", "--data", WORLD, "--sigmas", "0"), "positive"),
        (("score", "eval", "mfa", "--data", WORLD, "--out", "pyproject.toml"), "got a file"),
        (("score", "eval", "exact", "--data", "fashion-mnist-5k"), "not drawn from a world"),
        (("score", "fit", "--data", WORLD, "--out", "pyproject.toml"), "got a file"),
        (("score", "fit", "--data", WORLD, "--out", "OUT", "--size", "huge"), "medium"),
        (("score", "fit", "--data", WORLD, "--out", "OUT", "--learning-rate", "-1"), "learning_rate"),
        (("score", "sample", "mfa", "--out", "OUT"), "--data"),
        (("score", "sample", "mfa", "--data", WORLD, "--out", "OUT", "--class", "2"), "0 to 1"),
        (("score", "sample", "mfa", "--data", WORLD, "--out", "OUT", "--unconditional", "--guidance", "2"), "guide"),
        (("convert", "mfa", "OUT.safetensors"), "unknown model"),
        (("convert", "nowhere.pkl", "OUT.safetensors"), "nowhere.pkl"),
        (("convert", "edm:nowhere.pkl", "OUT.pt"), "ends in .safetensors"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_paragraph(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = called(*[a.replace("OUT", str(tmp_path / "out")) for a in arguments])
    assert result.returncode == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
