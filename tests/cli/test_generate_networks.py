"""`tangency generate`: every task on the embedded study's networks and on classifiers that others trained."""

from __future__ import annotations

import json
import time
from pathlib import Path

import polars
import pytest
from typer.testing import CliRunner

from data.full_data import needs
from tangency.cli.app import app
from tangency.generation.tasks.table import TASKS
from tangency.study import quickstart_spec, run_study

pytestmark = pytest.mark.processes

SWEEP = [
    {"objective": "standard"},
    {"objective": "gradient_norm", "strengths": [0.3]},
    {"objective": "pgd_l2", "strengths": [0.3]},
    {"objective": "noise_augmentation", "strengths": [0.3]},
]

TEN = ("--steps", "10")
STEPS: dict[str, tuple[str, ...]] = {"counterfactual": ()}  # it takes as many as it takes


def made(out: Path, task: str, *options: str, moves: bool = True) -> dict:
    command = ["generate", "--task", task, "--out", str(out / task), "--references", "none", "--json", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    told = dict(json.loads(result.stdout))
    counts = told["sources"]["classifier"]["counts"]
    assert counts["diverged"] == 0
    if moves:
        assert counts["stalled"] < told["count"]
    values = polars.read_parquet(out / task / "rows.parquet").filter(source="classifier", measure="evaluations")
    assert values["value"].min() >= 1
    return told


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("embedded")
    run_study(quickstart_spec(train={"epochs": 2}, sweep=SWEEP, measured=100, untrained=False), run)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("objective", [str(entry["objective"]) for entry in SWEEP])
def test_every_task_on_a_network_of_the_embedded_study(objective: str, embedded: Path, tmp_path: Path) -> None:
    trial = next(path for path in (embedded / "trials").glob("*/trial.json") if f'"{objective}"' in path.read_text())
    for task in TASKS:
        unit = ("--unit", "module.features.0") if task == "feature" else ()
        made(tmp_path, task, "--model", f"run:{trial.parent}", "--limit", "16", *STEPS.get(task, TEN), *unit)


@pytest.mark.slow
@needs("onnx", "cifar10-train.parquet", "cifar10-test.parquet")
def test_every_task_on_a_network_of_others(tmp_path: Path, data_root: Path) -> None:
    model = ("--model", f"onnx:{data_root / 'onnx' / 'cifar10_small.onnx'}", "--data", "cifar10")
    for task in TASKS:
        if task != "feature":
            made(tmp_path, task, *model, "--limit", "16", *STEPS.get(task, TEN))


@pytest.mark.slow
@needs("onnx", "mnist")
def test_every_task_on_a_network_that_is_flat_on_noise(tmp_path: Path, data_root: Path) -> None:
    """All units of this network of MNIST are off where images are noisy, and its gradient is zero: that is told."""
    model = ("--model", f"onnx:{data_root / 'onnx' / 'mnist-net_256x2.onnx'}", "--data", "mnist")
    stalled = {}
    for task in TASKS:
        if task != "feature":
            told = made(tmp_path, task, *model, "--limit", "16", *STEPS.get(task, TEN), moves=False)
            stalled[task] = told["sources"]["classifier"]["counts"]["stalled"]
    assert stalled["generate"] == stalled["denoise"] == 16
    assert max(stalled["translate"], stalled["inpaint"], stalled["counterfactual"]) < 16


@pytest.mark.slow
def test_sixty_steps_of_generation_take_seconds(embedded: Path, tmp_path: Path) -> None:
    trial = next(path for path in (embedded / "trials").glob("*/trial.json") if '"standard"' in path.read_text())
    started = time.monotonic()
    told = made(tmp_path, "generate", "--model", f"run:{trial.parent}", "--limit", "64", "--steps", "60")
    print(f"command {time.monotonic() - started:.1f} s, of it generation and judges {told['seconds']} s")
    assert told["sources"]["classifier"]["measures"]["own_confidence"]["mean"] > 0.9
