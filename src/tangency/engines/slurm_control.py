"""What Slurm's own commands say and do: states of jobs, partitions, cancelling; sacct is never asked.

`sacct` needs slurmdbd, which many clusters lack: without it a cancelled job looks unknown for ever.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tangency.errors import RunError, listed, unknown_name

_PATIENCE = 60.0  # seconds for a command of Slurm, whose controller may be busy
_COMMANDS = ("sbatch", "srun", "squeue", "scontrol", "scancel")
_RUNS = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"}
_WAITS = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED"}
UNSEEN = 78  # exit code of a Slurm job whose node does not see the run folder
_NO_OUTPUT = 53  # signal that Slurm names where a node cannot even open the job's log


@dataclass(frozen=True)
class SlurmState:
    """State of a Slurm job.

    Args:
        name: as squeue has it.
        node: that it runs on; "" where it waits.
        held: whether it waits for a person to release it.
    """

    name: str
    node: str = ""
    held: bool = False

    @property
    def runs(self) -> bool:
        """Whether processes of it may be alive."""
        return self.name in _RUNS

    @property
    def alive(self) -> bool:
        """Whether it runs or will."""
        return self.runs or (self.name in _WAITS and not self.held)


@dataclass(frozen=True)
class Ending:
    """How a Slurm job ended.

    Args:
        state: as scontrol has it; "" where Slurm has forgotten the job.
        node: where it ran.
        code: exit code of its script.
        signal: that ended it, or 0.
    """

    state: str = ""
    node: str = ""
    code: int = 0
    signal: int = 0

    @property
    def unseen(self) -> bool:
        """Whether the node does not see the run folder."""
        return self.code == UNSEEN or self.signal == _NO_OUTPUT


def check_commands() -> None:
    """Raise `RunError` where this machine does not submit to Slurm."""
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing:
        raise RunError(
            f"engine slurm: {listed(missing)} not on the PATH, expected a machine that submits to Slurm; log in to one "
            "(a login node of the cluster), or use --engine local."
        )
    if _run("scontrol", "ping") is None:
        raise RunError(
            "engine slurm: Slurm's controller does not answer ('scontrol ping'); try again when 'sinfo' lists nodes, "
            "or use --engine local."
        )


def time_limit(partition: str) -> int | None:
    """Longest time of a job in a partition ("" for the default one), in minutes; None where there is no limit.

    Raises:
        RunError: Slurm has no such partition.
    """
    return minutes(_partition(partition).get("MaxTime", "UNLIMITED"))


def memory_given(partition: str) -> Literal["nothing", "default", "node"]:
    """What memory Slurm gives a job that asks for none.

    Args:
        partition: of the job; "" for the default one.

    Returns:
        "nothing" where this cluster does not allocate memory, "default" where somebody set one, and "node" where it is
        all that the node has.

    Raises:
        RunError: Slurm has no such partition.
    """
    row = _partition(partition)
    config = dict(re.findall(r"^(\w+) *= (.*)$", _run("scontrol", "show", "config") or "", re.MULTILINE))
    if "MEMORY" not in f"{row.get('SelectTypeParameters')} {config.get('SelectTypeParameters')}".upper():
        return "nothing"
    set_ones = [where.get(name, "UNLIMITED") for where in (row, config) for name in ("DefMemPerNode", "DefMemPerCPU")]
    by_gpu = "DefMemPerGPU" in f"{row.get('JobDefaults')} {config.get('JobDefaults')}"
    return "default" if by_gpu or set(set_ones) != {"UNLIMITED"} else "node"


def _partition(partition: str) -> dict[str, str]:
    """What Slurm says of a partition."""
    output = _run("scontrol", "--oneliner", "show", "partition") or ""
    rows = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in output.splitlines() if line.startswith("Partition")]
    names = [row["PartitionName"] for row in rows]
    chosen = [row for row in rows if row["PartitionName"] == partition or (not partition and row["Default"] == "YES")]
    if partition and not chosen:
        raise RunError(f"engine slurm: {unknown_name('partition', partition, names)} Use --partition.")
    if not chosen:
        raise RunError(f"engine slurm: Slurm has no default partition; choose one with --partition: {listed(names)}.")
    return chosen[0]


def minutes(limit: str) -> int | None:
    """Minutes of a limit as Slurm writes it; None for none.

    Example:
        >>> minutes("1-00:00:00"), minutes("00:30:00"), minutes("UNLIMITED")
        (1440, 30, None)
    """
    days, _, clock = limit.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts):
        return None
    hours, minute, *_ = [0] * (3 - len(parts)) + [int(part) for part in parts]
    return (int(days or 0) * 24 + hours) * 60 + minute


def states(name: str) -> dict[str, SlurmState] | None:
    """State of every job of this user and name, by id ("12" or "12_3"); None where Slurm does not answer now."""
    output = _run("squeue", "--me", "--noheader", "--array", "--states=all", f"--name={name}", "--format=%i|%T|%N|%r")
    if output is None:
        return None
    rows = [line.strip().split("|") for line in output.splitlines() if line.count("|") == 3]
    return {job: SlurmState(state, node, "held" in reason.lower()) for job, state, node, reason in rows}


def ending(job: str) -> Ending:
    """How a job ended."""
    output = _run("scontrol", "--oneliner", "show", "job", job) or ""
    row = dict(re.findall(r"(\S+?)=(\S*)", output))
    code, _, signal = row.get("ExitCode", "0:0").partition(":")
    return Ending(row.get("JobState", ""), row.get("NodeList", "").replace("(null)", ""), int(code), int(signal or 0))


def cancel(jobs: Iterable[str]) -> None:
    """Cancel jobs, those too that wait; unknown ones are no error."""
    if jobs := list(jobs):
        _run("scancel", *jobs)


def _run(*command: str) -> str | None:
    """What a command prints; None where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
