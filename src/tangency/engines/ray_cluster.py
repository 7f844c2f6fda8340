"""Reaching a Ray cluster, or starting one here, and what its nodes must have before they are given work."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from tangency.engines.carried import LEAST_FREE
from tangency.engines.contract import Resources, Work
from tangency.engines.ray_worker import NodeSeen, WorkerSetting, look, package_versions
from tangency.errors import RunError, listed, quoted
from tangency.files import temporary_path

_ANSWER = 10.0  # seconds that a cluster has to answer
_LOOK = 300.0  # and a node to say what it has: it imports torch first, maybe from a slow disk
_STORE = 80 << 20  # bytes of the object store of a cluster of our own, whose workers read and write files
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # of HTTP/2, and empty settings
_SETTINGS = 4  # type of the frame that every HTTP/2 server begins with
_WAY_OUT = "start Ray there with `ray start --head`, or leave --address out, which starts it on this machine"


def imported_ray() -> Any:
    """The package, which is an extra."""
    try:
        import ray
    except ImportError as error:
        raise RunError(f"engine ray: {quoted(error)}; install it with pip install 'tangency[ray]'.") from None
    return ray


@contextlib.contextmanager
def connected(address: str, workers: int, need: Resources, device: str) -> Iterator[str]:
    """A connection to a cluster, which ends with it: one that runs, or one of our own on this machine.

    Args:
        address: "auto", HOST:PORT, or "" for a cluster of our own.
        workers: that a cluster of our own has room for.
        need: of each of them.
        device: "cpu" leaves the accelerators of this machine alone.

    Yields:
        The URL of Ray's dashboard; "" where there is none.

    Raises:
        RunError: nothing answers there, or Ray is missing or cannot be started.
    """
    ray = imported_ray()
    if ray.is_initialized():  # by the caller, who also ends it
        yield ""
        return
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    handler = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"  # of workers that were ended on purpose
    try:
        if address:
            context = _joined(ray, checked_address(address), quiet)
        else:
            context = _started(ray, workers * need.cpus, device, quiet)
        with _silent():
            yield f"http://{context.dashboard_url}" if context.dashboard_url else ""
    finally:
        ray.shutdown()
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            os.environ.pop(name)
        os.environ.update(before)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Ray prints on standard output, whatever one asks for, that nodes and workers are lost: the engine says so."""
    from ray._private import worker

    before = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


def _joined(ray: Any, address: str, quiet: dict[str, Any]) -> Any:
    try:
        return ray.init(address=address, **quiet)
    except (Exception, SystemExit) as error:  # Ray ends a process that it cannot connect
        raise RunError(
            f"engine ray: the cluster at {address} cannot be joined ({quoted(error)}). This machine must be one of its "
            f"nodes, with the same versions of Python and Ray: `ray start --address={address}` makes it one."
        ) from error


def _started(ray: Any, cpus: int, device: str, quiet: dict[str, Any]) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    room: dict[str, Any] = {"num_gpus": 0} if device == "cpu" else {}
    # As on the engine local all workers run; by itself Ray counts only what is free when it starts.
    room |= {"_memory": psutil.virtual_memory().total, "object_store_memory": _STORE}
    try:
        return ray.init(address="local", num_cpus=cpus, **room, **quiet)
    except (Exception, SystemExit) as error:
        raise RunError(
            f"engine ray: Ray cannot be started on this machine ({quoted(error)}); use --engine local, or --address "
            "with a cluster that runs."
        ) from error


def checked_address(address: str) -> str:
    """HOST:PORT of a cluster that answers.

    Ray itself waits for 80 seconds, and then ends the process.

    Raises:
        RunError: nothing answers there within seconds, or what answers is no Ray.
    """
    from ray._private.services import canonicalize_bootstrap_address

    if "://" in address:
        raise RunError(
            f"engine ray: got the address '{address}', expected auto or HOST:PORT; run the study on a node of the "
            "cluster, there Ray's client is not needed."
        )
    try:
        place = str(canonicalize_bootstrap_address(address))
    except ConnectionError:
        raise RunError(f"engine ray: --address {address} found no Ray on this machine; {_WAY_OUT}.") from None
    except Exception as error:
        raise RunError(f"engine ray: the address '{address}' cannot be used ({quoted(error)}); {_WAY_OUT}.") from error
    host, _, port = place.rpartition(":")
    if not port.isdigit():
        raise RunError(f"engine ray: got the address '{address}', expected auto or HOST:PORT, as in 10.0.0.1:6379.")
    try:
        if not _speaks_http2(host.strip("[]"), int(port)):
            raise RunError(f"engine ray: what answers at '{address}' is no Ray; {_WAY_OUT}.")
    except OSError as error:
        reason = error.strerror or quoted(error)
        raise RunError(f"engine ray: no cluster answers at '{address}' ({reason}); {_WAY_OUT}.") from None
    return place


def _speaks_http2(host: str, port: int) -> bool:
    """Whether a server of gRPC listens there, as the head of a Ray cluster is one."""
    with socket.create_connection((host, port), timeout=_ANSWER / 2) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return True
        connection.settimeout(_ANSWER / 2)
        connection.sendall(_PREFACE)
        head = b""
        while len(head) < 9 and (more := connection.recv(9 - len(head))):
            head += more
        return len(head) == 9 and head[3] == _SETTINGS


def check_nodes(work: Work, setting: WorkerSetting) -> None:
    """Look at every node of the cluster, before anything is queued.

    Raises:
        RunError: a node has other versions, other data, or a disk that is full.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    own, data = package_versions(), work.data_digest()
    task = ray.remote(num_cpus=0, max_retries=0)(look)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0)]
    looks = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            work, setting
        ): f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in nodes
    }
    ready, late = ray.wait(list(looks), num_returns=len(looks), timeout=_LOOK) if looks else ([], [])
    if late:
        raise RunError(
            f"engine ray: {listed(looks[one] for one in late)} did not say within {_LOOK:.0f} seconds what it has; "
            "`ray status` tells whether it is well."
        )
    for one in ready:
        try:
            seen = ray.get(one)
        except ray.exceptions.RayTaskError as error:
            raise RunError(
                f"engine ray: {looks[one]} cannot run tangency ({last_line(error)}); install the same version there."
            ) from None
        except ray.exceptions.RayError:  # a node that was lost, which the cluster notices late
            continue
        refuse_unfit(seen, looks[one], own, data)


def last_line(error: BaseException) -> str:
    """What an error of Ray says at its end, below its traceback."""
    return str(error).strip().splitlines()[-1][:300]


def refuse_unfit(seen: NodeSeen, node: str, own: Mapping[str, str], data: str) -> None:
    """Raise where a node has not what its workers need.

    Args:
        seen: what it has.
        node: its name, in words.
        own: versions of the driver.
        data: digest of the data that the driver sees.
    """
    other = [f"{name} {seen.versions.get(name)}" for name in own if seen.versions.get(name) != own[name]]
    if other:
        expected = listed(f"{name} {value}" for name, value in own.items() if seen.versions.get(name) != value)
        raise RunError(
            f"engine ray: {node} has {listed(other)}, expected {expected} as on this machine; results would depend on "
            "the node. Install the same versions there."
        )
    if seen.error or seen.data != data:
        reason = seen.error or "they hold other images than on this machine"
        raise RunError(
            f"engine ray: {node} has not the data of this study: {reason}. Put the same data there, or set "
            "TANGENCY_DATA on the node before `ray start`."
        )
    if seen.free < LEAST_FREE:
        raise RunError(
            f"engine ray: {node} has {seen.free >> 20} MB free where its workers write, expected {LEAST_FREE >> 20} MB "
            "at least; free some space there."
        )


def refuse_impossible(need: Resources) -> None:
    """Raise where no node of the cluster could ever hold a worker."""
    import ray

    wanted = {"CPU": float(need.cpus), "GPU": need.gpus, "memory": float(need.memory)}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        return
    has = "; ".join(_room(node.get("CPU", 0), node.get("GPU", 0), node.get("memory", 0)) for node in nodes)
    raise RunError(
        f"engine ray: no node has room for a worker of {_room(need.cpus, need.gpus, need.memory)}; the nodes have "
        f"{has or 'nothing'}. Use fewer threads, smaller batches or a smaller share of a GPU, or add larger nodes with "
        "`ray start` (its --memory says how much of theirs may be used)."
    )


def _room(cpus: float, gpus: float, memory: float) -> str:
    return f"{cpus:g} CPUs, {gpus:g} GPUs and {memory / 1e9:.1f} GB"


def token_file(run: Path) -> Path:
    """A fresh file in the run folder, by which nodes know that they see it."""
    path = temporary_path(run / "ray")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path
