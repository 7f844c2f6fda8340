"""Worker processes on this machine: a task that loses its process is tried again, an orphaned worker ends itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tangency.errors import RunError, TangencyError
from tangency.files import journal
from tangency.study.bench import Workbench
from tangency.study.deaths import IMPORTED, out_of_memory, refuse_daemon, unguarded, why
from tangency.study.planning import StudyPlan
from tangency.study.tasks import Task, do_task

_ATTEMPTS = 3  # how often a task may lose its worker process before the study gives up
OnTaskProgress = Callable[[Task, float], None]
Message = tuple[str, Any]  # of a worker: "begun", "progress" with the share, "error" with what is raised, "done"


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    task: Task | None = None
    begun: bool = False


class Pool:
    """Worker processes, started when there is work for them, that then stay; use as a context manager."""

    def __init__(self, plan: StudyPlan, run: Path, devices: list[str]) -> None:
        self._plan, self._run, self._devices = plan, run, devices
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def __enter__(self) -> Pool:
        refuse_daemon()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(10)

    def _start(self, device: str) -> _Worker:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._plan, self._run, device)
        process = self._context.Process(target=_serve, args=arguments, daemon=True)
        with _without_interrupts():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def do(self, tasks: list[Task], on_progress: OnTaskProgress) -> None:
        """Do all tasks, the most costly first; raises the first error of a task."""
        waiting = sorted(tasks, key=lambda task: -task.cost)
        attempts: dict[Task, int] = {}
        while len(self._workers) < min(len(self._devices), len(tasks)):
            self._workers.append(self._start(self._devices[len(self._workers)]))
        for worker in self._workers:
            self._hand_out(worker, waiting)
        while any(worker.task for worker in self._workers):
            for ready in wait([worker.connection for worker in self._workers if worker.task]):
                position = next(i for i, w in enumerate(self._workers) if w.connection is ready)
                worker = self._workers[position]
                message = _receive(worker.connection)
                if message is None:
                    self._replace(position, waiting, attempts)
                elif message[0] == "begun":
                    worker.begun = True
                elif message[0] == "progress" and worker.task:
                    on_progress(worker.task, message[1])
                elif message[0] == "done" and worker.task:
                    on_progress(worker.task, 1.0)
                    worker.task = None
                    self._hand_out(worker, waiting)
                elif message[0] == "error":
                    raise message[1]

    def _hand_out(self, worker: _Worker, waiting: list[Task]) -> None:
        if waiting:
            worker.task = waiting.pop(0)
            with suppress(BrokenPipeError):  # a worker that just died is noticed when its end of the pipe closes
                worker.connection.send(worker.task)

    def _replace(self, position: int, waiting: list[Task], attempts: dict[Task, int]) -> None:
        """A worker died: give its task to a fresh process."""
        dead = self._workers[position]
        dead.process.join()
        task = dead.task
        assert task is not None  # only workers with a task are waited for
        if dead.process.exitcode == IMPORTED:
            raise unguarded()
        attempts[task] = attempts.get(task, 0) + 1
        if attempts[task] >= _ATTEMPTS:
            raise RunError(
                f"task '{task.kind} {task.index}': its process died {_ATTEMPTS} times, the last time "
                f"{why(dead.process.exitcode, dead.begun)}. Finished work is kept: run the study again."
            )
        self._workers[position] = self._start(self._devices[position])
        waiting.insert(0, task)
        self._hand_out(self._workers[position], waiting)


def _receive(connection: Connection) -> Message | None:
    """The next message, or None where the process has ended."""
    try:
        message: Message = connection.recv()
    except (EOFError, OSError):  # also in the middle of a message
        return None
    return message


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C, which goes to all that a terminal started: the driver ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: a worker ignores it itself, once it runs
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, plan: StudyPlan, run: Path, device: str) -> None:
    """Body of a worker process: tasks in, progress and results out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    connection.send(("begun", None))
    journal("worker.start")
    import torch

    torch.set_num_threads(plan.spec.threads)
    bench = Workbench(plan, run, device)
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        try:
            do_task(bench, task, lambda share: connection.send(("progress", share)))
        except TangencyError as error:
            connection.send(("error", error))
        except Exception as error:  # reported whole to the driver, which raises it
            known = out_of_memory(error, f"task '{task.kind} {task.index}'")
            connection.send(("error", known or RuntimeError(f"in worker, {task}:\n{traceback.format_exc()}")))
        else:
            connection.send(("done", None))


def _end_with_parent() -> None:
    """Leave at once when the driver is killed: nobody would take the result."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
