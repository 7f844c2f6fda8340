"""Engines that cannot be reached: exit code 2 and one paragraph; how soon for Ray, see engines/test_ray_address.py."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from study_support import tiny_spec, write_data, write_spec
from tangency.cli import main
from tangency.engines import slurm_control

PARTITIONS = "PartitionName=main Default=YES MaxTime=UNLIMITED\nPartitionName=short Default=NO MaxTime=00:30:00\n"


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *options: str) -> str:
    """What `study run` says with these options."""
    spec = write_spec(folder, tiny_spec(write_data(folder)))
    monkeypatch.setattr("sys.argv", ["tangency", "study", "run", str(spec), "--out", str(folder / "run"), *options])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr().err.strip()
    assert left.value.code == 2, said
    said = said[said.index("error: engine ") :]  # behind the progress
    assert "Traceback" not in said
    assert "\n" not in said  # one paragraph
    assert not list((folder / "run").glob("trials/*"))  # nothing was begun
    return said


@pytest.mark.processes
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
def test_a_ray_address_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with socket.create_server(("", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        said = refused(tmp_path, monkeypatch, capsys, "--engine", "ray", "--address", address)
    assert f"no cluster answers at '{address}' (timed out); start Ray there with `ray start --head`" in said


@pytest.mark.processes
@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="the extra slurm is not installed")
def test_no_sbatch_and_an_unknown_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        said = refused(tmp_path, patch, capsys, "--engine", "slurm")
    assert "sbatch, srun, squeue, scontrol, scancel not on the PATH, expected a machine that submits to Slurm" in said
    monkeypatch.setattr("tangency.engines.slurm_control.shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(slurm_control, "_run", lambda *words: PARTITIONS if "partition" in words else "up")
    said = refused(tmp_path, monkeypatch, capsys, "--engine", "slurm", "--partition", "shrt")
    assert "unknown partition 'shrt'. Did you mean 'short'? Known: main, short. Use --partition." in said
