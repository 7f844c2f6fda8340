"""A real Ray cluster on this one machine, for tests: a head without CPUs, two nodes of one CPU and a pretended GPU.

    python scripts/ray_here.py start FOLDER            starts it; prints the line that names its address
    python scripts/ray_here.py kill FOLDER n1          ends a node as a power cut does
    python scripts/ray_here.py node FOLDER n1          starts it again
    python scripts/ray_here.py stop FOLDER             ends all of its processes

With `--hide PATH` the node n2 does not see PATH: it has a mount namespace of its own, with an empty file system there
(wants root). All that it writes is in FOLDER, so that several can run side by side; FOLDER/NAME.pid holds the number of
the process that keeps a node.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HEAD, NODES = "head", ("n1", "n2")
IMPOSSIBLE = 3  # exit code
PATIENCE = 600.0  # seconds until a node must be there; busy machines are slow
STORE = 80 << 20  # bytes of a node's object store, the least that Ray accepts
# No usage statistics; no token, so that no file in the home folder decides; patience with busy machines.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_agent_register_timeout_ms": "600000",
}


def impossible(hide: Path | None = None) -> str | None:
    """Why no cluster can be started here, or None where it can."""
    if importlib.util.find_spec("ray") is None:
        return "ray is not installed (pip install 'tangency[ray]')"
    if hide and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "no mount namespace can be made here, which wants root"
    return None


def start(folder: Path, hide: Path | None = None) -> str:
    """Start all nodes and wait until they are there; the address of the cluster."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    room = ["--num-cpus=0", "--num-gpus=0", "--include-dashboard=false", f"--temp-dir={folder / 'ray'}"]
    _begin(folder, HEAD, ["--head", f"--port={port}", *room])
    address = f"{_own_ip()}:{port}"
    (folder / "address").write_text(address)
    _wait(folder, 1)
    for number, name in enumerate(NODES, start=2):  # one by one: Ray gives up on nodes that start slowly
        start_node(folder, name, hide if name == NODES[1] else None)
        _wait(folder, number)
    return address


def start_node(folder: Path, name: str, hide: Path | None = None) -> None:
    """Start a node of one CPU."""
    address = (folder / "address").read_text()
    _begin(
        folder, name, [f"--address={address}", "--num-cpus=1", "--num-gpus=1", "--dashboard-agent-listen-port=0"], hide
    )


def _begin(folder: Path, name: str, options: list[str], hide: Path | None = None) -> None:
    """Start a node in a session of its own, whose parent is no process of ours."""
    ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block"]
    quiet = [f"--node-name={name}", f"--object-store-memory={STORE}", "--include-log-monitor=false"]
    command = [*ray, *quiet, *options]
    if hide:
        mount = f"mount -t tmpfs -o size=16m none {shlex.quote(str(hide))} && exec {shlex.join(command)}"
        command = ["unshare", "--mount", "sh", "-c", mount]
    # The shell ends at once, so that the node is a child of the system's first process.
    background = f"echo $$ > {shlex.quote(str(folder / name))}.pid; exec {shlex.join(command)}"
    with open(folder / f"{name}.log", "ab") as log:
        subprocess.run(
            ["sh", "-c", f"setsid sh -c {shlex.quote(background)} &"],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )


def alive(folder: Path) -> list[str]:
    """Names of the nodes that the cluster counts as alive."""
    from ray._raylet import GcsClient

    nodes = GcsClient(address=(folder / "address").read_text()).get_all_node_info()
    return sorted(node.node_name for node in nodes.values() if node.state == 0)


def _wait(folder: Path, number: int) -> None:
    last = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(Exception):  # of a head that does not answer yet
            if len(alive(folder)) >= number:
                return
        if time.monotonic() > last:
            stop(folder)
            raise SystemExit(f"ray_here: not all nodes are there after {PATIENCE:g} s; see {folder}/*.log")
        time.sleep(0.5)


def kill(folder: Path, name: str) -> None:
    """End a node as a power cut does: every process of it at once."""
    with contextlib.suppress(OSError, ValueError):
        session = int((folder / f"{name}.pid").read_text())
        for number in _session(session):
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)


def _session(session: int) -> list[int]:
    """Processes of a session, and those that they started in sessions of their own."""
    found, parents = {session}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found & set(parents))


def stop(folder: Path) -> None:
    """End all nodes, the head last."""
    for name in (*NODES, HEAD):
        kill(folder, name)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def _own_ip() -> str:
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())


def main() -> int:
    """Start, end a node, start it again, or stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["start", "kill", "node", "stop"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("node", nargs="?", choices=NODES, default=NODES[0])
    parser.add_argument("--hide", type=Path)
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    if reason := impossible(chosen.hide):
        print(f"ray_here: {reason}", file=sys.stderr)
        return IMPOSSIBLE
    if chosen.action == "start":
        print(f"--address {start(folder, chosen.hide)}")
    elif chosen.action == "node":
        start_node(folder, chosen.node, chosen.hide)
    elif chosen.action == "kill":
        kill(folder, chosen.node)
    else:
        stop(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
