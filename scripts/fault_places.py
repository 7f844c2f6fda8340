"""Where `fault_study.py` runs: local processes, or a Ray or a Slurm of this machine; what can be killed there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SCRIPTS = Path(__file__).parent


class Local:
    """Processes that the driver starts."""

    kinds: tuple[str, ...] = ("worker", "driver", "full disk", "two drivers")
    options: tuple[str, ...] = ("--engine", "local")
    outlives = False  # whether workers go on without their driver

    def workers(self, driver: psutil.Process | None) -> list[psutil.Process]:
        """Processes that do jobs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [each for each in driver.children() if "spawn_main" in _command(each)] if driver else []
        return []

    def close(self) -> None:
        """End what was started."""


class Ray(Local):
    """A cluster of two nodes of one CPU."""

    kinds = ("worker", "node", "driver", "full disk", "two drivers")

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fr"))  # short: it holds sockets
        self.options = ("--engine", "ray", "--address", _script("ray_here.py", "start", self.folder).split()[-1])

    def workers(self, driver: psutil.Process | None) -> list[psutil.Process]:
        """Actors on both nodes."""
        return [each for node in ("n1", "n2") for each in self._of(node)]

    def _of(self, node: str) -> list[psutil.Process]:
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            started = psutil.Process(int((self.folder / f"{node}.pid").read_text())).children(recursive=True)
            return [each for each in started if _command(each).startswith("ray::RayWorker")]
        return []

    def kill_node(self, worker: psutil.Process) -> None:
        """End the node of a worker as a power cut does, and start it again."""
        node = "n1" if worker in self._of("n1") else "n2"
        _script("ray_here.py", "kill", self.folder, node)
        _script("ray_here.py", "node", self.folder, node)

    def close(self) -> None:
        """End the cluster."""
        _script("ray_here.py", "stop", self.folder)


class Slurm(Local):
    """A controller and two nodes."""

    kinds = ("worker", "node", "driver", "scancel", "requeue", "full disk", "two drivers")
    options = ("--engine", "slurm")
    outlives = True

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fs"))
        _script("slurm_here.py", "start", self.folder)
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")

    def workers(self, driver: psutil.Process | None) -> list[psutil.Process]:
        """Python in Slurm jobs."""
        return [each for each in self._processes() if "submitit.core._submit" in _command(each) and _is_python(each)]

    def _processes(self) -> list[psutil.Process]:
        return [each for each in psutil.process_iter() if _variable(each, "SLURM_CONF") == os.environ["SLURM_CONF"]]

    def job(self, worker: psutil.Process) -> str:
        """Id of the Slurm job that a process belongs to."""
        array, task = _variable(worker, "SLURM_ARRAY_JOB_ID"), _variable(worker, "SLURM_ARRAY_TASK_ID")
        return f"{array}_{task}" if array else _variable(worker, "SLURM_JOB_ID")

    def kill_node(self, worker: psutil.Process) -> None:
        """Kill the process of a node and all that runs there; start it again."""
        node = _variable(worker, "SLURMD_NODENAME")
        for each in self._processes():
            if _variable(each, "SLURMD_NODENAME") == node and _variable(each, "SLURM_JOB_ID"):
                kill(each)
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            kill(psutil.Process(int((self.folder / f"slurmd-{node}.pid").read_text())))
        time.sleep(3)
        _script("slurm_here.py", "node", self.folder, node)

    def take(self, kind: str, job: str) -> None:
        """Cancel a Slurm job, or requeue it at once."""
        if kind == "scancel":
            subprocess.run(["scancel", job], check=False, timeout=60)
            return
        subprocess.run(["scontrol", "requeue", job], check=False, timeout=60)
        time.sleep(1)  # without the next line a requeued job starts two minutes later
        subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=False, timeout=60)

    def close(self) -> None:
        """End Slurm."""
        _script("slurm_here.py", "stop", self.folder)


PLACES = {"local": Local, "ray": Ray, "slurm": Slurm}


def kill(process: psutil.Process) -> None:
    """End a process at once; one that has ended is no error."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _script(name: str, *arguments: object) -> str:
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip()}")
    return done.stdout.strip()


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _is_python(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.name().startswith("python")
    return False


def _variable(process: psutil.Process, name: str) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        return str(process.environ().get(name, ""))
    return ""
