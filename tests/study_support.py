"""A study small enough to be killed many times."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from processes import run
from support import make_mixture
from tangency.cli import main as command_line
from tangency.engines import Engine, Job, Work

SWEEP = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1]}]


def write_data(folder: Path) -> Path:
    """120 training and 30 test images of 8×8 pixels in three classes, from a mixture."""
    folder.mkdir(parents=True, exist_ok=True)
    mixture = make_mixture((1, 8, 8), 3, 2, 3, noise=0.003)
    x, y = mixture.sample(150, 0)
    pixels = (x.clamp(0, 1) * 255).byte().numpy()[:, 0]
    path = folder / "tiny.npz"
    np.savez(
        path,
        train_images=pixels[:120],
        train_labels=y[:120].numpy(),
        test_images=pixels[120:],
        test_labels=y[120:].numpy(),
    )
    return path


def tiny_spec(data: Path, **changes: object) -> dict:
    """Three trials of two epochs, twelve measured images in two shards."""
    return {
        "name": "tiny",
        "data": f"npz:{data}",
        "measured": 12,
        "shard": 6,
        "train": {"epochs": 2, "batch_size": 40},
        "score": {"components": 1, "rank": 3},
        "sweep": SWEEP,
        "measures": {"directions": 1, "sigmas": [0.5], "rho_sigmas": [0.05], "epsilons": [2.0], "metrics": ["cosine"]},
        "pictures": 3,
        "replicates": 100,
        "workers": 1,
        **changes,
    }


def write_spec(folder: Path, spec: dict) -> Path:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def tangency(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "tangency", *map(str, arguments)]
    return run(command, {"OMP_NUM_THREADS": "1", **environment}, check=False)


def called(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in this process: importing everything takes seconds in one of its own."""
    command, out, errors = ["tangency", *map(str, arguments)], io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        patch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as left:
            command_line()
    return subprocess.CompletedProcess(command, int(left.value.code or 0), out.getvalue(), errors.getvalue())


class InProcess(Engine):
    """In place of `tangency.study.run.open_engine`: every job in this process."""

    def __init__(self, config: object, work: Work, run: Path, workers: int, device: str) -> None:
        self.do_job = work.open(run, "cpu")

    def __exit__(self, *_: object) -> None:
        return None

    def do(self, jobs: list[Job], on_event: Callable[..., None]) -> None:
        for job in jobs:
            self.do_job(job.payload, lambda _: None)
