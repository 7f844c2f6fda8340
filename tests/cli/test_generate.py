"""`tangency generate`: files, JSON, table, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from study_support import tangency, write_data
from tangency.cli.app import app
from tangency.errors import RunError
from tangency.models import build, save_classifier
from tangency.study.measured import open_measured
from tangency.study.spec import SHIPPED


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("generate")
    names = ("0", "1", "2")
    for seed, name in enumerate(("net", "judge")):
        net = build("convnet", (1, 8, 8), names, seed, channels=(4, 4, 4))
        save_classifier(net, folder / f"{name}.safetensors")
    return {
        "MODEL": str(folder / "net.safetensors"),
        "JUDGE": str(folder / "judge.safetensors"),
        "DATA": f"npz:{write_data(folder)}",
    }


QUICK = ("--count", "6", "--steps", "4", "--frames", "3")


def test_files_json_and_table(files: dict[str, str], tmp_path: Path) -> None:
    base = ("generate", "--model", files["MODEL"], "--data", files["DATA"], "--judge", files["JUDGE"], *QUICK)
    out = tmp_path / "made"
    result = CliRunner().invoke(app, [*base, "--out", str(out), "--start", "class", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["sources"]["classifier"]["counts"] == {"stalled": 0, "diverged": 0, "stopped": 0}
    assert {p.name for p in out.iterdir()} == {
        "grid.png",
        "index.html",
        "pictures",
        "rows.parquet",
        "summary.json",
        "trajectory.gif",
    }
    assert json.loads((out / "summary.json").read_text())["sources"] == told["sources"]
    rows = pl.read_parquet(out / "rows.parquet")
    assert rows.filter(source="classifier", measure="judge_accuracy").height == 6
    mean = rows.filter(source="classifier", measure="judge_accuracy")["value"].mean()
    assert mean == pytest.approx(told["sources"]["classifier"]["measures"]["judge_accuracy"]["mean"])
    with pytest.raises(RunError, match="was written by `tangency generate`"):
        open_measured(str(out))
    with Image.open(out / "trajectory.gif") as moving:
        assert moving.n_frames == 3
    page = (out / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert page.count("data:image/png") >= 6 * 4
    assert "judge accuracy" in page
    table = CliRunner().invoke(app, [*base, "--out", str(out), "--task", "inpaint", "--animation", "apng"])
    assert table.exit_code == 0, table.output
    assert "psnr_gain" in table.output
    assert "judge: accuracy " in table.output
    assert "on 30 test images" in page
    with Image.open(out / "trajectory.png") as moving:
        assert moving.n_frames == 3


@pytest.mark.processes
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--task", "inpainting"), "inpaint"),
        (("--target", "7"), "expected 0 to 2"),
        (("--objective", "loss"), "log_odds"),
        (("--task", "inpaint", "--mask", "circle"), "rectangle"),
        (("--task", "superres", "--factor", "5"), "divisor"),
        (("--animation", "mp4"), "apng"),
        (("--references", "baies"), "bayes"),
        (("--judge", "nowhere.safetensors"), "nowhere"),
        (("--judge", "MODEL"), "itself"),
        (("--steps", "-1"), "steps: got -1"),
        (("--margin", "inf"), "margin: got inf"),
        (("--count", "0"), "error: count: got 0, expected at least 1 image."),
    ],
)
def test_bad_input_is_exit_code_2(
    files: dict[str, str], tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    base = ("generate", "--model", files["MODEL"], "--data", files["DATA"], "--out", tmp_path / "out", *QUICK)
    result = tangency(*base, *[files.get(option, option) for option in options])
    assert result.returncode == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["run", "plan", "status"])
def test_help_lists_every_study_that_is_shipped(command: str) -> None:
    told = CliRunner().invoke(app, ["study", command, "--help"], env={"COLUMNS": "200"}).output
    assert ", ".join(SHIPPED) in " ".join(told.replace("│", " ").split())
