"""Ray that is missing, addresses that do not answer, nodes that have not what they need: a paragraph, soon."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.simulated import Counting, counting_job
from processes import run
from tangency.engines import EngineConfig, RayEngine, Resources, open_engine
from tangency.engines.ray_cluster import checked_address, refuse_impossible, refuse_unfit
from tangency.engines.ray_worker import NodeSeen, package_versions
from tangency.errors import RunError

ray = pytest.importorskip("ray")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("", 0)) as one:
        yield one


def refused(address: str) -> str:
    began = time.monotonic()
    with pytest.raises(RunError) as error:
        checked_address(address)
    assert time.monotonic() - began < 15
    return str(error.value)


def test_a_port_where_nobody_listens_is_refused(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    words = refused(f"127.0.0.1:{port}")
    assert f"no cluster answers at '127.0.0.1:{port}' (Connection refused); start Ray there with `ray start" in words


def test_what_listens_and_says_nothing_is_refused(listener: socket.socket) -> None:
    assert "(timed out)" in refused(f"127.0.0.1:{listener.getsockname()[1]}")


def test_another_server_is_refused(listener: socket.socket) -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(24)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    assert "is no Ray" in refused(f"127.0.0.1:{listener.getsockname()[1]}")
    thread.join()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ray://127.0.0.1:10001", "got the address 'ray://127.0.0.1:10001', expected auto or HOST:PORT"),
        ("somewhere", "the address 'somewhere' cannot be used"),
        ("127.0.0.1:port", "got the address '127.0.0.1:port', expected auto or HOST:PORT, as in 10.0.0.1:6379"),
        ("127.0.0.1:99999", "no cluster answers at '127.0.0.1:99999'"),
    ],
)
def test_what_is_no_address_is_refused(address: str, words: str) -> None:
    assert words in refused(address)


def test_auto_without_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)
    monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda _: None)
    assert "--address auto found no Ray on this machine; start Ray there" in refused("auto")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    config = EngineConfig(kind="ray")
    wanted = re.escape("install it with pip install 'tangency[ray]'.")
    with (
        open_engine(config, Counting(str(tmp_path / "log")), tmp_path, 1, "cpu") as engine,
        pytest.raises(RunError, match=wanted),
    ):
        engine.do([counting_job("a")], print)


def test_without_work_no_cluster_is_looked_for(tmp_path: Path) -> None:
    config = EngineConfig(kind="ray", address="127.0.0.1:1")
    with open_engine(config, Counting(str(tmp_path / "log")), tmp_path, 1, "cpu") as engine:
        engine.do([], print)


OWN = {"python": "3.11.7", "torch": "2.14.1"}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            NodeSeen("n1", OWN | {"torch": "2.9.0"}, True, 10**9, "abc"),
            "node n1 has torch 2.9.0, expected torch 2.14.1 as on this machine",
        ),
        (NodeSeen("n1", {"python": "3.11.7"}, True, 10**9, "abc"), "node n1 has torch None, expected torch 2.14.1"),
        (NodeSeen("n1", OWN, True, 10**9, "abd"), "node n1 has not the data of this study: they hold other images"),
        (
            NodeSeen("n1", OWN, True, 10**9, "", "no folder 'x'"),
            "not the data of this study: no folder 'x'. Put the",
        ),
        (NodeSeen("n1", OWN, True, 5 << 20, "abc"), "node n1 has 5 MB free where its workers write, expected 100 MB"),
    ],
)
def test_a_node_that_has_not_what_it_needs_is_refused(seen: NodeSeen, words: str) -> None:
    refuse_unfit(NodeSeen("n1", OWN, False, 10**9, "abc"), "node n1", OWN, "abc")
    with pytest.raises(RunError, match=re.escape(words)):
        refuse_unfit(seen, "node n1", OWN, "abc")


@pytest.mark.parametrize(
    ("need", "fits"),
    [
        (Resources(1, 0.0, 3_000_000_000), True),
        (Resources(1, 0.0, 5_000_000_000), False),
        (Resources(4, 0.0, 1_000_000_000), True),
        (Resources(4, 0.5, 1_000_000_000), False),  # each node has one of both
    ],
)
def test_a_worker_that_no_node_can_hold_is_refused_with_what_the_nodes_have(
    need: Resources, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [{"CPU": 1.0, "GPU": 1.0, "memory": 4.2e9}, {"CPU": 4.0, "memory": 1e9}]
    seen = [{"Alive": True, "Resources": node} for node in nodes]
    monkeypatch.setattr(ray, "nodes", lambda: [*seen, {"Alive": False, "Resources": {"CPU": 99.0, "memory": 1e15}}])
    if fits:
        refuse_impossible(need)
        return
    words = rf"{need.memory / 1e9:.1f} GB; the nodes have 1 CPUs, 1 GPUs and 4.2 GB; 4 CPUs, 0 GPUs and 1.0 GB\."
    with pytest.raises(RunError, match=words):
        refuse_impossible(need)


@pytest.mark.parametrize(
    ("device", "asked", "needed", "there", "share"),
    [
        ("auto", 0.0, 0.1, 2.0, 0.5),  # four workers divide two GPUs
        ("auto", 0.0, 0.7, 2.0, 0.7),  # and need more than that
        ("auto", 0.0, 0.7, 0.0, 0.0),  # this machine has GPUs, the cluster's workers have none
        ("auto", 0.25, 0.25, 2.0, 0.25),
        ("cpu", 0.0, 0.0, 2.0, 0.0),
    ],
)
def test_the_share_of_a_gpu_is_what_workers_need_or_can_have(
    device: str, asked: float, needed: float, there: float, share: float, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": there} if there else {"CPU": 8.0})
    engine = RayEngine(Counting(str(tmp_path / "log")), tmp_path, 4, device, "", asked)
    assert engine._share_of_gpu(needed) == share


def test_versions_are_those_that_run_here() -> None:
    versions = package_versions()
    assert versions["ray"] == ray.__version__
    assert set(versions) == {"python", "tangency", "torch", "numpy", "ray"}


@pytest.mark.processes
def test_importing_the_package_does_not_import_ray() -> None:
    code = "import sys, tangency, tangency.engines.ray; sys.exit('ray' in sys.modules)"
    run([sys.executable, "-c", code])
