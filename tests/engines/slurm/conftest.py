"""A real Slurm for the tests that want one: a controller and two nodes on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import tangency
from slurm_support import IMPOSSIBLE, Slurm

PATHS = (str(Path(__file__).parents[2]), str(Path(tangency.__file__).parents[1]))  # of the tests, and of the package


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Started once for a file of tests; skips where that is impossible."""
    made = Slurm(tmp_path_factory.mktemp("slurm"))
    started = made.run("start")
    if started.returncode == IMPOSSIBLE:
        pytest.skip(started.stderr.strip())
    assert started.returncode == 0, started.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(made.folder / "slurm.conf"))
        patch.setenv("PYTHONPATH", os.pathsep.join(PATHS))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield made
    stopped = made.run("stop")
    assert stopped.returncode == 0, stopped.stderr
