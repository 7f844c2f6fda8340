"""Processes that tests start: each is ended and joined with its test, and waits end on events, not on the clock."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

import psutil

PATIENCE = 1800.0  # seconds; the last resort of every wait, for machines that are busy or slow
_PAUSE = 0.02


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for an event, however long it takes."""
    last = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < last, f"{what}: not in {PATIENCE:g} s"
        time.sleep(_PAUSE)


def members(session: int) -> list[psutil.Process]:
    """Processes of a session: a process that `start` started, and all that came of it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


class Processes:
    """Processes of one test; at its end those that still run are killed with all that they started, and joined."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen] = []

    def start(self, command: Sequence[str], environment: dict[str, str] | None = None, **options) -> subprocess.Popen:
        """A process in a session of its own, with the variables of this one and more."""
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, start_new_session=True, **options
        )
        self._started.append(process)
        return process

    def codes(self, *processes: subprocess.Popen) -> list[int]:
        """Exit codes of processes that work together; where one fails the others, which wait for it, are killed."""
        until(
            lambda: all(p.poll() is not None for p in processes) or any(p.poll() for p in processes),
            "the processes end",
        )
        for process in processes:
            if process.poll() is None:
                self._kill(process)
        return [process.wait() for process in processes]

    def end(self) -> None:
        """Kill and join what is left."""
        for process in self._started:
            self._kill(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    @staticmethod
    def _kill(process: subprocess.Popen) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # all of the session have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(
    command: Sequence[str], environment: dict[str, str] | None = None, check: bool = True, **options
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what it printed is kept, and is shown where it fails that must not."""
    processes = Processes()
    try:
        process = processes.start(
            command, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        output, errors = process.communicate(timeout=PATIENCE)  # until the last of its processes closes them
    finally:
        processes.end()
    assert not check or process.returncode == 0, f"exit code {process.returncode}:\n{output}\n{errors}"
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
