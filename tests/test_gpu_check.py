"""The script that a person with a GPU runs: its dry run, its verdict on wrong numbers, and its answer without a GPU."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tangency.measures import Rows

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_check.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("gpu_check")


def test_dry_run(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--dry", "--json", str(tmp_path / "gpu.json")]) == 0
    lines = json.loads((tmp_path / "gpu.json").read_text())["lines"]
    compared = [line for line in lines if line["allowed"]]
    assert len(compared) == 3
    assert all(line["value"] == 0 for line in compared)  # the CPU against itself
    assert all(line["value"] > 0 for line in lines if line["unit"])
    assert "FAILED" not in capsys.readouterr().out


def test_other_numbers_fail(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = script.Line("loss", 0.01, script.LOSS)
    monkeypatch.setattr(script, "checked", lambda *_: [script.Line("speed", 9.0, unit="images/s"), wrong])
    assert script.main(["--dry"]) == 1
    assert not script.Line("loss", float("nan"), script.LOSS).good


def test_differences_of_rows(script: ModuleType) -> None:
    def rows(values: list[float]) -> Rows:
        return Rows(torch.arange(len(values)), {"cosine": torch.tensor(values)}, dimension=4, classes=2)

    values = [0.5] * 19 + [0.0]
    assert script.differences(rows(values), rows(values))["cosine"] == 0
    assert script.differences(rows([0.51, *values[1:]]), rows(values))["cosine"] == 0  # one image of twenty
    assert script.differences(rows([0.51] * 19 + [0.0]), rows(values))["cosine"] == pytest.approx(0.0198, rel=1e-3)
    assert script.differences(rows([torch.nan] * 3 + values[3:]), rows(values))["cosine"] == torch.inf


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.processes
def test_two_processes(script: ModuleType) -> None:
    same, rate = script.two_at_once(("cpu", "cpu"), script.DRY)
    assert same.value == 0 < rate.value
