"""Shared fixtures: devices present, full data sets, processes that end with their test; and what the markers mean."""

from __future__ import annotations

import contextlib
import multiprocessing.process
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from _pytest.doctest import DoctestItem
from hypothesis import settings

from data.full_data import ROOT, VARIABLE, lacking
from processes import Processes

settings.register_profile("tangency", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("tangency")
torch.set_num_threads(1)

DEVICES = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))]
STARTS = {"subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"}
_unmarked: list[str] = []  # the test in progress, where it must start no process


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """Each device of this machine."""
    return str(request.param)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the full data sets; mark the test with `needs`, which says what it wants of them."""
    return ROOT


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Starts processes, which end with the test."""
    started = Processes()
    yield started
    started.end()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for the folder of the full data sets is marked, before a marker chooses the tests; so are examples in
    docstrings that run a study, which cannot say that they start processes."""
    for item in items:
        if isinstance(item, DoctestItem) and any(
            name in part.source for part in item.dtest.examples for name in ("run_study(", "run_cause(")
        ):
            item.add_marker("processes")
            if any("run_cause(" in part.source for part in item.dtest.examples):
                item.add_marker("slow")
        if "data_root" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("full_data"):
            item.add_marker("full_data")


def pytest_runtest_setup(item: pytest.Item) -> None:
    names = [name for marker in item.iter_markers("full_data") for name in marker.args]
    reason = lacking(names) if item.get_closest_marker("full_data") else None
    if reason:
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Only tests that say so see full data sets, start processes, and so depend on what a machine has."""
    kept = os.environ.get(VARIABLE)
    if not item.get_closest_marker("full_data"):
        os.environ.pop(VARIABLE, None)
    if not item.get_closest_marker("processes"):
        _unmarked.append(item.nodeid)
    try:
        return (yield)
    finally:
        _unmarked.clear()
        if kept is not None:
            os.environ[VARIABLE] = kept


def _started(event: str, _: Any = None) -> None:
    if _unmarked and event in STARTS:
        pytest.fail(f"{_unmarked[0]} starts a process: mark it with pytest.mark.processes")


sys.addaudithook(_started)
_start = multiprocessing.process.BaseProcess.start


def _start_if_marked(self: multiprocessing.process.BaseProcess) -> None:
    _started("os.fork")
    _start(self)


multiprocessing.process.BaseProcess.start = _start_if_marked


def _children() -> dict[psutil.Process, str]:
    """Processes that this one started, and their commands; the tracker of multiprocessing is none of a test's."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        try:
            command = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in command:
                found[child] = command
        except psutil.Error:
            continue  # it has ended
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A process that outlives its test is killed, joined, and named by the test that left it."""
    result = yield
    if item.get_closest_marker("processes"):
        left = _children()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left)
        assert not left, f"processes outlived the test: {list(left.values())}"
    return result
