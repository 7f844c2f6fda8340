"""The script of random faults, with a few of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from processes import run

pytestmark = [pytest.mark.slow, pytest.mark.processes]

_SCRIPT = Path(__file__).parents[2] / "scripts" / "fault_study.py"


def test_three_faults_on_local_processes_change_and_repeat_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(_SCRIPT), "--engine", "local", "--faults", "3", "--epochs", "3"]
    done = run([*command, "--out", str(tmp_path)], check=False)
    faults = [json.loads(line) for line in (tmp_path / "local" / "faults.jsonl").read_text().splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(bool(fault["hit"]) for fault in faults) == 3
    verdict = json.loads((tmp_path / "local" / "study-0" / "verdict.json").read_text())
    assert (verdict["rows equal"], verdict["trials"], verdict["trainings"]) == (True, 24, 24)
    assert (verdict["lost"], verdict["repeated"]) == (0, 0)
