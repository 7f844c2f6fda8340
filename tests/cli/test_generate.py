"""`tangency generate`: files, JSON, table, exit codes."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from study_support import write_data
from tangency.cli import main
from tangency.cli.app import app
from tangency.errors import RunError
from tangency.evaluate.folders import open_measured
from tangency.generation.tasks.table import TASKS
from tangency.models import build, save_classifier
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


QUICK = ("--limit", "6", "--steps", "4", "--frames", "3")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_writes_its_page(task: str, files: dict[str, str], tmp_path: Path) -> None:
    more = ("--unit", "module.features.0") if task == "feature" else ()
    quick = ("--limit", "2") if task == "counterfactual" else ("--limit", "2", "--steps", "2")
    base = ("generate", "--model", files["MODEL"], "--data", files["DATA"], "--references", "none", *quick)
    result = CliRunner().invoke(app, [*base, "--task", task, "--out", str(tmp_path), *more])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "index.html").read_text()
    assert ("Total variation: 0 (off)" in page) == (task != "counterfactual")


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
    block = gzip.decompress(base64.b64decode(re.search(r'id="frames">([^<]+)</script>', page)[1]))
    shape = json.loads(block[4 : 4 + int.from_bytes(block[:4], "little")])["shape"]
    assert shape[0] == 3  # the frames that the page plays
    assert len(json.loads(re.search(r'data-steps="([^"]+)"', page)[1])) == 3
    table = CliRunner().invoke(app, [*base, "--out", str(out), "--task", "inpaint", "--animation", "apng"])
    assert table.exit_code == 0, table.output
    assert "…" not in table.output.replace(" … ", "")  # nothing is cut where it goes into a file
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
        (("--sigma", "inf", "--task", "denoise"), "sigma: got inf"),
        (("--langevin", "nan"), "noise: got nan"),
        (("--task", "denoise", "--mask", "half"), "error: mask: no option of task 'denoise', only of inpaint."),
        (("--task", "denoise", "--mask", "rectangle"), "mask: no option of task 'denoise'"),
        (("--task", "denoise", "--radius", ".01"), "--radius: no option of task 'denoise', only of generate, inpaint"),
        (("--task", "denoise", "--start", "class"), "start: no option of task 'denoise', only of generate, feature."),
        (("--task", "translate", "--score", "mfa"), "score: no option of task 'translate'"),
        (("--task", "inpaint", "--mask", "half", "--share", "0.5"), "share: changes nothing here"),
        (("--frames", "0", "--animation", "apng"), "animation: changes nothing here, since no frames are kept"),
        (("--references", "score"), "references: got score, but there is none; give one with --score"),
        (("--guidance", "2"), "guidance: changes nothing here"),
        (("--limit", "0"), "error: --limit: got 0, expected a number in [1, 10000000]."),
    ],
)
def test_bad_input_is_exit_code_2(
    files: dict[str, str],
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    base = ("generate", "--model", files["MODEL"], "--data", files["DATA"], "--out", tmp_path / "out", *QUICK)
    monkeypatch.setattr("sys.argv", ["tangency", *map(str, base), *[files.get(option, option) for option in options]])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


# Each option with its own default value: it is refused as it stands on the command line, not by its value.
WRITTEN = {
    "--target": ("target", "0"), "--objective": ("climb.objective", "log_odds"), "--steps": ("climb.steps", "60"),
    "--rule": ("climb.rule", "normalised"), "--length": ("climb.length", "0.1"), "--radius": ("climb.radius", "1"),
    "--norm": ("climb.norm", "l2"), "--langevin": ("climb.noise", "0"), "--average": ("climb.average", "0"),
    "--variation": ("climb.variation", "0"), "--decay": ("climb.decay", None), "--start": ("start", "noise"),
    "--confidence": ("climb.confidence", "0.9"), "--sigma": ("sigma", "0.25"), "--blind": ("blind", None),
    "--method": ("method", "budget"), "--label": ("label", "predicted"), "--mask": ("mask", "rectangle"),
    "--share": ("share", "0.25"), "--factor": ("factor", "2"), "--unit": ("unit", "module.features.0"),
    "--margin": ("margin", "0"), "--drawn": ("drawn", None), "--guidance": ("guidance", "1"),
    "--frames": ("climb.frames", "16"), "--score": ("score", "mfa"), "--judge": ("judge", "JUDGE"),
}  # fmt: skip
BESIDE = {
    "--objective": ("--label", "predicted"),
    "--confidence": ("--label", "predicted"),
    "--share": ("--mask", "random"),
}


@pytest.mark.parametrize("task", TASKS)
def test_every_option_of_the_command_line_is_passed_on_or_refused(
    task: str, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list = []

    def stop(*given: object, **more: object) -> None:
        asked.append((given, more))
        raise KeyboardInterrupt

    monkeypatch.setattr("tangency.evaluate.generation.saved.generate", stop)
    base = [
        "generate",
        "--task",
        task,
        "--model",
        files["MODEL"],
        "--data",
        files["DATA"],
        "--out",
        str(tmp_path / "o"),
    ]
    base += ["--unit", "module.features.1"] if task == "feature" else []
    for written, (option, value) in WRITTEN.items():
        asked.clear()
        beside = BESIDE.get(written, ()) if option in TASKS[task].own and "label" in TASKS[task].own else ()
        typed = [written, *([files.get(value, value)] if value is not None else [])]
        result = CliRunner().invoke(app, [*base, *beside, *typed])
        if option in TASKS[task].own:
            assert asked, f"{written}: {result.exception}"
            continue
        assert not asked, written
        name = written if option.startswith("climb.") else option
        assert str(result.exception).startswith(f"{name}: no option of task '{task}', only of "), written


@pytest.mark.parametrize("command", ["run", "plan", "status"])
def test_help_lists_every_study_that_is_shipped(command: str) -> None:
    told = CliRunner().invoke(app, ["study", command, "--help"], env={"COLUMNS": "200"}).output
    assert ",".join(SHIPPED) in "".join(told.replace("│", " ").split())  # lines are broken at hyphens, too
