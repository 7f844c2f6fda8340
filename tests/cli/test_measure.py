"""`tangency measure` on saved classifiers: shards, several models, baselines, kills, and the examples of its help."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import polars
import pytest
from typer.testing import CliRunner

from data.full_data import needs
from processes import run
from study_support import write_data
from tangency.cli.app import app
from tangency.errors import RunError
from tangency.evaluate import MeasureRequest, measure_models
from tangency.files import locked, temporary_path
from tangency.models import build, save_classifier
from tangency.study import quickstart_spec, run_study
from tangency.worlds import load_dataset

QUICK = ("--metrics", "cosine", "--epsilons", "none", "--rho-sigmas", "none", "--sigmas", "0.25")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.npz and two classifiers of it."""
    folder = tmp_path_factory.mktemp("measured")
    data = load_dataset(f"npz:{write_data(folder)}")
    for seed in (0, 1):
        save_classifier(build("convnet", data.test.shape, data.test.classes, seed), folder / f"net{seed}.safetensors")
    return folder


def measured(folder: Path, *options: str) -> dict:
    data = f"npz:{next(folder.glob('*.npz'))}"
    result = CliRunner().invoke(app, ["measure", "--data", data, *QUICK, "--json", *options])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_a_folder_is_measured_into_by_one_process_at_a_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = str(folder / "net0.safetensors"), tmp_path / "out"
    request = MeasureRequest(model, f"npz:{next(folder.glob('*.npz'))}", limit=12, out=out, metrics=("cosine",))
    with locked(out / "shards", "the test"), pytest.raises(RunError, match="out': another process is working on it"):
        measure_models(request)
    with monkeypatch.context() as patch:
        patch.setattr("tangency.files.os.getpid", lambda: 1 << 22)  # above all process numbers
        left = temporary_path(out / "rows.parquet")
    left.write_bytes(b"of a process that was killed")
    measured(folder, "--model", model, "--limit", "12", "--out", str(out))
    assert not left.exists()


def test_several_models_are_measured_at_once_as_each_alone(folder: Path, tmp_path: Path) -> None:
    models = [str(folder / f"net{seed}.safetensors") for seed in (0, 1)]
    both = measured(
        folder, "--model", models[0], "--model", models[1], "--limit", "12", "--out", str(tmp_path / "both")
    )
    places = sorted(path.name for path in (tmp_path / "both").iterdir() if (path / "summary.json").exists())
    assert len(places) == 2
    assert [place[:3] for place in places] == ["01-", "02-"]
    alone = measured(folder, "--model", models[1], "--limit", "12")
    for key, entry in alone["measures"].items():
        assert both["models"][1]["measures"][key]["mean"] == pytest.approx(
            entry["mean"], rel=1e-4, abs=1e-6, nan_ok=True
        )


def test_only_what_is_asked_for_is_measured(folder: Path) -> None:
    found = measured(folder, "--model", str(folder / "net0.safetensors"), "--limit", "8")
    assert not [key for key in found["measures"] if key.startswith(("change_", "rho", "alignment_lpips", "kl_"))]
    assert {"accuracy", "kappa.margin", "alignment_cosine.margin.bayes_gradient.sigma=0.25"} <= set(found["measures"])
    assert "--baseline" in found["regime"]["text"]
    assert found["check"]["images"] > 0


def test_a_folder_keeps_one_classifier_and_one_setting(folder: Path, tmp_path: Path) -> None:
    models = [str(folder / f"net{seed}.safetensors") for seed in (0, 1)]
    out = ("--limit", "8", "--out", str(tmp_path))
    measured(folder, "--model", models[0], *out)
    measured(folder, "--model", models[0], "--limit", "10", "--out", str(tmp_path))
    data = ("--data", f"npz:{next(folder.glob('*.npz'))}")
    for options in (
        ("--model", models[1]),
        ("--model", models[0], "--sigmas", "0.5"),
        ("--model", models[0], "--model", models[1]),
    ):
        refused = CliRunner().invoke(app, ["measure", *data, *QUICK, *out, *options])
        assert isinstance(refused.exception, RunError)
        assert str(tmp_path) in str(refused.exception)
    assert json.loads((tmp_path / "summary.json").read_text())["measured"] == 10


def test_few_images_and_empty_maps_are_told(folder: Path, tmp_path: Path) -> None:
    data = load_dataset(f"npz:{next(folder.glob('*.npz'))}")
    maps = np.zeros((len(data.test), *data.test.shape), dtype=np.float32)
    maps[0] = 1
    np.savez(tmp_path / "maps.npz", lime=maps)
    found = measured(
        folder, "--model", str(folder / "net0.safetensors"), "--limit", "1000", "--maps", f"npz:{tmp_path / 'maps.npz'}"
    )
    assert any(f"zero for {len(data.test) - 1} of {len(data.test)} images" in said for said in found["warnings"])
    few = measured(folder, "--model", str(folder / "net0.safetensors"), "--limit", "4")
    assert any("4 images are few" in said for said in few["warnings"])


@pytest.mark.slow
@pytest.mark.processes
def test_a_killed_measurement_goes_on_and_ends_with_the_same_rows(folder: Path, tmp_path: Path) -> None:
    data = f"npz:{next(folder.glob('*.npz'))}"
    model = str(folder / "net0.safetensors")
    command = ["tangency", "measure", "--model", model, "--data", data, *QUICK, "--limit", "30", "--json"]
    script = (
        "import sys, tangency.evaluate.stream as s; from tangency.cli import main; s.SHARD = 10; "
        f"sys.argv = {command!r} + {{}}; main()"
    )
    finished = tmp_path / "whole"
    _python(script.format(["--out", str(finished)]), tmp_path / "journal", "")
    broken = tmp_path / "broken"
    killed = _python(script.format(["--out", str(broken)]), tmp_path / "killed", "rename:00001*#1")
    assert killed == -9
    left = sorted(path.name for path in (broken / "shards").rglob("*.parquet"))
    assert left == ["00000-10.parquet"]
    before = next((broken / "shards").rglob("*.parquet")).stat().st_mtime_ns
    _python(script.format(["--out", str(broken)]), tmp_path / "again", "")
    assert next((broken / "shards").rglob("00000*.parquet")).stat().st_mtime_ns == before
    one, other = (polars.read_parquet(place / "rows.parquet") for place in (finished, broken))
    assert one.equals(other)
    assert not list(broken.rglob("*.tmp"))


def _python(script: str, journal: Path, kill: str) -> int:
    order = {"TANGENCY_JOURNAL": str(journal), "TANGENCY_KILL": kill}
    return run([sys.executable, "-c", script], order, check=False).returncode


@pytest.mark.processes
@pytest.mark.slow
@needs("onnx", "cifar10-train.parquet", "cifar10-test.parquet")
def test_the_examples_of_the_help_run_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_root: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(data_root / "onnx" / "cifar10_small.onnx", "net.onnx")
    run_study(quickstart_spec(train={"epochs": 1}, sweep=[{"objective": "standard"}]), Path("runs/quickstart"))
    shown = " ".join(CliRunner().invoke(app, ["measure", "--help"], env={"COLUMNS": "2000"}).output.split())
    examples = re.findall(r"tangency (measure .*?)(?:;|\.(?: |$))", shown.partition("Examples:")[2])
    assert len(examples) == 2
    for example in examples:
        started = time.monotonic()
        result = CliRunner().invoke(app, shlex.split(example))
        assert result.exit_code == 0, result.output
        print(f"{time.monotonic() - started:.0f} s: tangency {example}")
    summary = json.loads(Path("runs/net/summary.json").read_text())
    assert summary["measured"] == 1000
    assert summary["measures"]["accuracy"]["mean"] > 0.55


@pytest.mark.slow
@pytest.mark.processes
def test_many_images_take_no_more_memory_and_time_each(tmp_path: Path) -> None:
    data = load_dataset("world:fitted?train=100&test=10")
    save_classifier(build("convnet", data.test.shape, data.test.classes), tmp_path / "net.safetensors")
    seconds, peak = {}, {}
    for count in (5_000, 100_000):
        asked = (
            f"MeasureRequest(({str(tmp_path / 'net.safetensors')!r},), 'world:fitted?test={count}', limit={count}, "
            f"out=Path({str(tmp_path / str(count))!r}), metrics=('cosine',), epsilons=(), rho_sigmas=())"
        )
        script = (
            "import time\n"
            "from pathlib import Path\n"
            "from tangency.evaluate import MeasureRequest, measure_models\n"
            "started = time.monotonic()\n"
            f"found = measure_models({asked})[0].to_json()\n"
            f"assert found['measured'] == {count}\n"
            "seconds = time.monotonic() - started\n"
            "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
            "print(seconds, peak.split()[1])\n"
        )
        out = run([sys.executable, "-c", script]).stdout.split()
        seconds[count], peak[count] = float(out[0]), int(out[1]) / 1024
    print(f"seconds {seconds}, peak MB {peak}")
    assert peak[100_000] <= 1.1 * peak[5_000]
