"""A real Slurm for tests, started by scripts/slurm_here.py."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

SCRIPT = Path(__file__).parents[1] / "scripts" / "slurm_here.py"
IMPOSSIBLE = 3  # exit code of the script where no Slurm can be started here


@dataclass(frozen=True)
class Slurm:
    """The Slurm of `scripts/slurm_here.py`, in a folder of its own; SLURM_CONF points to it."""

    folder: Path

    def run(self, action: str, *more: str) -> subprocess.CompletedProcess[str]:
        """The script."""
        command = [sys.executable, str(SCRIPT), action, str(self.folder), *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    def command(self, *words: str) -> str:
        """What a command of Slurm prints."""
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout

    def node(self, name: str) -> psutil.Process:
        """The process of a node."""
        return psutil.Process(int((self.folder / f"slurmd-{name}.pid").read_text()))
