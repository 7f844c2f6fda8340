"""One small Ray cluster for the tests of this folder that want one, and a Slurm whose answers are made up."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines.pretended_slurm import cluster, opened
from processes import run

__all__ = ["RayHere", "cluster", "opened", "ray_here"]

_SCRIPT = Path(__file__).parents[2] / "scripts" / "ray_here.py"


@dataclass(frozen=True)
class RayHere:
    """A cluster of two nodes of one CPU.

    Args:
        address: of its head.
        folder: of the script that started it.
        hidden: a folder that its node n2 does not see; that is, an empty one there.
    """

    address: str
    folder: Path
    hidden: Path

    def script(self, *arguments: object) -> str:
        """What `scripts/ray_here.py` prints."""
        paths = os.pathsep.join(path for path in sys.path if path)  # of this process, for those of the nodes
        return run([sys.executable, str(_SCRIPT), *map(str, arguments)], {"PYTHONPATH": paths}).stdout


@pytest.fixture(scope="session")
def ray_here() -> Iterator[RayHere]:
    """A cluster; its processes are no children of this one, so that they outlive tests."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rh"))  # short: it holds sockets, whose paths may have 107 letters
    hidden = Path(tempfile.mkdtemp(prefix="rh-hidden"))
    here = RayHere("", folder, hidden)
    try:
        words = here.script("start", folder, "--hide", hidden).split()
        yield RayHere(words[-1], folder, hidden)
    finally:
        here.script("stop", folder)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(hidden, ignore_errors=True)
