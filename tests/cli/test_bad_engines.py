"""Engines that cannot be reached: exit code 2 and one paragraph, soon."""

from __future__ import annotations

import importlib.util
import socket
import time
from pathlib import Path

import pytest

from study_support import tiny_spec, write_data, write_spec
from tangency.cli import main
from tangency.engines import slurm_control

PARTITIONS = "PartitionName=main Default=YES MaxTime=UNLIMITED\nPartitionName=short Default=NO MaxTime=00:30:00\n"


def refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *options: str
) -> tuple[str, float]:
    """What `study run` says with these options, and after how many seconds."""
    spec, began = write_spec(folder, tiny_spec(write_data(folder))), time.monotonic()
    monkeypatch.setattr("sys.argv", ["tangency", "study", "run", str(spec), "--out", str(folder / "run"), *options])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr().err.strip()
    assert left.value.code == 2, said
    assert said.startswith("error: engine ")
    assert "Traceback" not in said
    assert "\n\n" not in said
    assert not list((folder / "run").glob("trials/*"))  # nothing was begun
    return " ".join(said.split()), time.monotonic() - began


@pytest.mark.processes
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
def test_a_ray_address_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import ray  # noqa: F401  (its import is no part of the time)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        said, seconds = refused(tmp_path, monkeypatch, capsys, "--engine", "ray", "--address", address)
    assert f"no cluster answers at '{address}' (timed out); start Ray there with `ray start --head`" in said
    assert seconds < 15


@pytest.mark.processes
@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="the extra slurm is not installed")
def test_no_sbatch_and_an_unknown_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        said, _ = refused(tmp_path, patch, capsys, "--engine", "slurm")
    assert "sbatch, srun, squeue, scontrol and scancel not on the PATH" in said
    monkeypatch.setattr("tangency.engines.slurm_control.shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(slurm_control, "_run", lambda *words: PARTITIONS if "partition" in words else "up")
    said, _ = refused(tmp_path, monkeypatch, capsys, "--engine", "slurm", "--partition", "shrt")
    assert "unknown partition 'shrt'. Did you mean 'short'? Known: main, short. Use --partition." in said
