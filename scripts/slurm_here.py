"""A real Slurm on this one machine, for tests: a controller, two nodes with pretended GPUs, no accounting.

    python scripts/slurm_here.py start FOLDER    starts it; prints the line that points sbatch and squeue to it
    python scripts/slurm_here.py node FOLDER n1  starts the process of a node again, after a test killed it
    python scripts/slurm_here.py stop FOLDER     ends all of its jobs and processes

Wants root and Debian's slurm-wlm and munge; where it cannot, it says why and ends with exit code 3. All that it writes
is in FOLDER, its own munge key too, so that several can run side by side and none touches a Slurm of the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
IMPOSSIBLE = 3  # exit code
PATIENCE = 60.0  # seconds until the nodes must be idle

# KillWait and SlurmdTimeout are short, so that what a fault leads to is seen within a test.
CONFIG = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=30
SchedulerParameters=sched_interval=2,batch_sched_delay=1
SlurmdParameters=config_overrides
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=ALL MaxTime=30 State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 Gres=gpu:2"


def impossible() -> str | None:
    """Why no Slurm can be started here, or None where it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install slurm-wlm munge)"
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root can start Slurm's daemons"
    return None


def start(folder: Path) -> None:
    """Write what is missing, start all processes and wait until both nodes are idle."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "munge.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
    ports = _free_ports(1 + len(NODES))
    host = socket.gethostname().split(".")[0]
    nodes = [NODE.format(name=name, host=host, port=port) for name, port in zip(NODES, ports[1:], strict=True)]
    config = CONFIG.format(host=host, port=ports[0], folder=folder, nodes="\n".join(nodes))
    (folder / "slurm.conf").write_text(config)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")  # devices that all have
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(exist_ok=True)
    files = [f"--{what}-file={folder / name}" for what, name in _MUNGE.items()]
    _run(folder, "munged", "--force", f"--socket={folder / 'munge.socket'}", *files)
    _run(folder, "slurmctld", "-c")
    for name in NODES:
        start_node(folder, name)
    _wait(folder)


_MUNGE = {"key": "munge.key", "pid": "munged.pid", "log": "munged.log", "seed": "munge.seed"}


def start_node(folder: Path, name: str) -> None:
    """Start the process of a node."""
    _run(folder, "slurmd", "-N", name)


def stop(folder: Path) -> None:
    """End jobs, nodes, controller and munge, in this order; what does not end is killed."""
    if _is_up(folder):
        _run(folder, "scancel", "--user", str(os.getuid()), check=False)
        last = time.monotonic() + 10
        while time.monotonic() < last and _run(folder, "squeue", "--noheader", check=False).strip():
            time.sleep(0.2)
    own = str(folder).encode()
    for name in [*(f"slurmd-{node}" for node in NODES), "slurmctld", "munged"]:
        _end(folder / f"{name}.pid")
    for path in Path("/proc").glob("[0-9]*/environ"):  # steps that a killed node left
        with contextlib.suppress(OSError, ValueError):
            command = (path.parent / "comm").read_text().strip()
            if command == "slurmstepd" and own in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


def _is_up(folder: Path) -> bool:
    return (folder / "slurmctld.pid").exists() and "UP" in _run(folder, "scontrol", "ping", check=False)


def _end(file: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        number = int(file.read_text())
        os.kill(number, signal.SIGTERM)
        last = time.monotonic() + 10
        while _runs(number):
            time.sleep(0.05)
            if time.monotonic() > last:
                os.kill(number, signal.SIGKILL)
                break
        file.unlink(missing_ok=True)


def _runs(number: int) -> bool:
    """Whether a process runs; one that has ended and is not yet collected does not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _wait(folder: Path) -> None:
    last = time.monotonic() + PATIENCE
    states: list[str] = []
    while states != ["idle"] * len(NODES):
        if time.monotonic() > last:
            stop(folder)
            raise SystemExit(f"slurm_here: the nodes are {states} after {PATIENCE:g} s; see {folder}/*.log")
        time.sleep(0.2)
        states = _run(folder, "sinfo", "--noheader", "--Node", "--partition=main", "--format=%T", check=False).split()


def _free_ports(number: int) -> list[int]:
    """Ports that no process listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _run(folder: Path, program: str, *arguments: str, check: bool = True) -> str:
    """What a program prints; daemons write into files, since a pipe that they keep open would never end."""
    environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
    with open(folder / "out.log", "a+") as log:
        begin = log.seek(0, os.SEEK_END)
        command = [shutil.which(program, path=_path()) or program, *arguments]
        code = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, timeout=PATIENCE
        ).returncode
        log.seek(begin)
        output = log.read()
    if check and code:
        raise SystemExit(f"slurm_here: {program} ended with exit code {code}: {output.strip()}")
    return output


def main() -> int:
    """Start, start a node again, or stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["start", "node", "stop"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("node", nargs="?", choices=NODES)
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    if reason := impossible():
        print(f"slurm_here: {reason}", file=sys.stderr)
        return IMPOSSIBLE
    if chosen.action == "start":
        start(folder)
        print(f"export SLURM_CONF={folder}/slurm.conf")
    elif chosen.action == "node":
        start_node(folder, chosen.node or NODES[0])
    else:
        stop(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
