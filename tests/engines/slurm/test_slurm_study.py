"""A study on a real Slurm: the same rows as on one process, also when driver and engine change in the middle."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from processes import Processes, until
from slurm_support import Slurm
from tangency.engines import EngineConfig
from tangency.study import run_study

pytestmark = [pytest.mark.slow, pytest.mark.processes]
pytest.importorskip("submitit", reason="the extra slurm is not installed")

SPEC = {
    "data": "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10",
    "score": "exact",
    "measured": 6,
    "shard": 3,
    "sweep": [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1]}],
    "untrained": False,
    "train": {"epochs": 2},
    "workers": 1,
    "pictures": 2,
    "replicates": 100,
    "measures": {"metrics": ["cosine"], "directions": 1},
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({**SPEC, **changes}))
    return path


def study(spec: Path, run: Path, kind: str = "local") -> None:
    run_study(spec, run, engine=EngineConfig(kind=kind))


def rows(run: Path) -> bytes:
    return (run / "rows.parquet").read_bytes()


def networks(run: Path) -> dict[str, dict[str, bytes]]:
    """The tensors of every file; the header's own order of keys is by chance."""
    files = sorted(run.glob("trials/*/*.safetensors"))
    return {str(p.relative_to(run)): {k: t.numpy().tobytes() for k, t in load_file(p).items()} for p in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process on this machine."""
    folder = tmp_path_factory.mktemp("local")
    study(write(folder), folder / "run")
    return folder / "run"


def test_rows_of_slurm_are_those_of_one_process(slurm: Slurm, undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    study(write(tmp_path, workers=2), run, "slurm")
    assert rows(run) == rows(undisturbed)
    assert networks(run) == networks(undisturbed)
    assert len(networks(run)) >= 2
    done = [json.loads(path.read_text())["where"] for path in (run / "queue" / "done").glob("*.json")]
    assert done
    assert all(where.startswith("Slurm job ") for where in done)
    assert len(list((run / "queue" / "slurm").glob("*_log.out"))) <= 2  # workers that stayed for all phases


def test_rows_after_a_killed_driver_and_a_switch_to_another_engine(
    slurm: Slurm, undisturbed: Path, tmp_path: Path, processes: Processes
) -> None:
    run, spec = tmp_path / "run", write(tmp_path, workers=2)
    command = [sys.executable, "-m", "tangency", "study", "run", str(spec), "--out", str(run), "--engine", "slurm"]
    driver = processes.start(command)
    done = run / "queue" / "done"
    until(lambda: driver.poll() is not None or any(done.glob("*.json")), "a job is done")
    assert driver.poll() is None
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    study(write(tmp_path, workers=1), run)
    assert rows(run) == rows(undisturbed)
    assert networks(run) == networks(undisturbed)
