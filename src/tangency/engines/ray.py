"""Workers on a Ray cluster: long-lived actors that are handed jobs, replaced where they or their nodes are lost."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.engines.carried import Version, versions, write_changes
from tangency.engines.contract import ATTEMPTS, Engine, Event, Job, OnEvent, Resources, Work, most_costly_first
from tangency.engines.ray_cluster import check_nodes, connected, last_line, refuse_impossible, token_file
from tangency.engines.ray_worker import News, RayWorker, WorkerOpened, WorkerSetting
from tangency.errors import RunError

_PATIENCE = 60.0  # seconds without any worker after which the cluster is examined
_TIDY = 10.0  # seconds that idle workers have to remove their folders
_KEPT = "Finished work is kept: run the study again."
Files = dict[str, tuple[Version, list[Any]]]


@dataclass
class _Actor:
    number: int
    handle: Any
    opening: Any  # Ray's reference to what it says when it is ready; None since then
    where: str = ""
    shared: bool = True
    job: Job | None = None
    news: Any = None  # Ray's stream of what it reports of its job


class RayEngine(Engine):
    """Workers on a Ray cluster, or on one that it starts on this machine; both begin when there is work.

    Nodes that see the run folder work in it. To others the driver sends what a job reads, and writes what it makes.

    Args:
        work: what they do.
        run: folder that jobs read and write.
        workers: how many there are at most.
        device: "auto", "cpu", "cuda" or "cuda:N".
        address: "auto", HOST:PORT, or "" for a cluster on this machine that ends with the engine.
        gpus: of each worker; a fraction where workers share one, 0 for as many as its jobs want.
    """

    def __init__(self, work: Work, run: Path, workers: int, device: str, address: str = "", gpus: float = 0.0) -> None:
        self._work, self._run, self._count, self._device = work, run.absolute(), workers, device
        self._address, self._gpus = address, gpus
        self._ends = contextlib.ExitStack()
        self._setting: Callable[[int], WorkerSetting] | None = None
        self._have = Resources()
        self._actors: list[_Actor] = []
        self._waiting: list[Job] = []
        self._attempts: dict[str, int] = {}
        self._unopened = 0  # workers in a row that ended before they were ready
        self._kept: Files = {}  # what was put into Ray's object store

    def __exit__(self, *_: object) -> None:
        self._end_actors()
        self._ends.close()

    def do(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """Do all jobs, the most costly first; raises the first error of a job."""
        if not jobs:
            return
        self._waiting, self._attempts, self._unopened = most_costly_first(jobs), {}, 0
        self._make_room(jobs)
        while len(self._actors) < min(self._count, len(jobs)):
            self._actors.append(self._start(len(self._actors)))
        for actor in self._actors:
            self._hand_out(actor, on_event)
        try:
            self._to_the_end(on_event)
        finally:
            self._kept = {}

    def _to_the_end(self, on_event: OnEvent) -> None:
        import ray

        quiet_since = time.monotonic()
        while self._waiting or any(actor.job for actor in self._actors):
            pending = {actor.opening or actor.news: actor for actor in self._actors if actor.opening or actor.job}
            ready, _ = ray.wait(list(pending), timeout=_PATIENCE)
            for one in ready:
                self._take(pending[one], on_event)
            if ready or any(actor.job for actor in self._actors):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= _PATIENCE:
                refuse_impossible(self._have)  # else others use the cluster: wait for them

    def _take(self, actor: _Actor, on_event: OnEvent) -> None:
        """Act on what an actor says, or on its end."""
        import ray

        try:
            said = ray.get(actor.opening if actor.opening else next(actor.news))
        except ray.exceptions.RayTaskError as error:  # of this engine's own code, or of what the node has installed
            raise RuntimeError(f"in Ray's worker {actor.where}:\n{error}") from None
        except (ray.exceptions.RayError, StopIteration) as error:
            self._replace(actor, _why(error), on_event)
            return
        if isinstance(said, Exception):
            raise said
        if isinstance(said, WorkerOpened):
            actor.opening, actor.where, actor.shared, self._unopened = None, said.where, said.shared, 0
            self._hand_out(actor, on_event)
        else:
            self._report(actor, said, on_event)

    def _report(self, actor: _Actor, news: News, on_event: OnEvent) -> None:
        job = actor.job
        assert job is not None  # only actors with a job report
        write_changes(self._run, news.files or {})
        if news.error:
            raise news.error
        on_event(Event(job, "done" if news.state == "done" else "progress", news.share, actor.where))
        if news.state == "done":
            actor.job = actor.news = None
            self._hand_out(actor, on_event)

    def _hand_out(self, actor: _Actor, on_event: OnEvent) -> None:
        if self._waiting and not actor.opening and not actor.job:
            job = actor.job = self._waiting.pop(0)
            files = {} if actor.shared else self._files(job)
            actor.news = actor.handle.do.options(num_returns="streaming").remote(job, files)
            on_event(Event(job, "running", 0.0, actor.where))

    def _files(self, job: Job) -> Files:
        """What a job reads or goes on from, in Ray's object store."""
        import ray

        now = versions(self._run, [*job.inputs, *job.outputs])
        for name, version in now.items():
            if name not in self._kept or self._kept[name][0] != version:
                self._kept[name] = version, [ray.put((self._run / name).read_bytes())]
        return {name: self._kept[name] for name in now}

    def _replace(self, dead: _Actor, reason: str, on_event: OnEvent) -> None:
        """An actor was lost: start another one, and give its job to who is free first."""
        import ray

        ray.kill(dead.handle)  # one that only cannot be reached must not go on beside the other
        fresh = self._actors[self._actors.index(dead)] = self._start(dead.number)
        job = dead.job
        if job is None:
            self._unopened += 1
            if self._unopened >= ATTEMPTS:
                raise RunError(
                    f"engine ray: {ATTEMPTS} workers ended before they began, the last one {reason}. {_KEPT}"
                )
            return
        self._attempts[job.id] = self._attempts.get(job.id, 0) + 1
        if self._attempts[job.id] >= ATTEMPTS:
            raise RunError(f"task '{job.name}': its process died {ATTEMPTS} times, the last time {reason}. {_KEPT}")
        on_event(Event(job, "lost", 0.0, dead.where, reason))
        self._waiting.insert(0, job)
        for actor in self._actors:
            if actor is not fresh:
                self._hand_out(actor, on_event)

    def _start(self, number: int) -> _Actor:
        import ray

        assert self._setting is not None  # set when the cluster was reached
        need = self._have
        room: Mapping[str, Any] = {"num_cpus": need.cpus, "num_gpus": need.gpus, "memory": need.memory or None}
        handle = ray.remote(**room, max_restarts=0, max_task_retries=0)(RayWorker).remote(
            self._work, self._setting(number)
        )
        return _Actor(number, handle, handle.open.remote())

    def _make_room(self, jobs: Sequence[Job]) -> None:
        """Reach the cluster; end workers that are too small for these jobs."""
        wants = [job.resources for job in jobs]
        need = Resources(
            max(self._work.threads, *(want.cpus for want in wants)),
            0.0 if self._device == "cpu" else self._gpus or max(want.gpus for want in wants),
            max(want.memory for want in wants),
        )
        if self._setting is None:
            self._reach(need)
        need = Resources(need.cpus, self._share_of_gpu(need.gpus), need.memory)
        have = self._have
        if not self._actors or need.cpus > have.cpus or need.gpus > have.gpus or need.memory > have.memory:
            self._end_actors()
            self._have = need

    def _reach(self, need: Resources) -> None:
        self.dashboard = self._ends.enter_context(connected(self._address, self._count, need, self._device))
        token = token_file(self._run)
        self._ends.callback(token.unlink, missing_ok=True)
        environment = {name: value for name, value in os.environ.items() if name.startswith("TANGENCY_")}

        def setting(number: int) -> WorkerSetting:
            return WorkerSetting(self._run, token.name, os.getcwd(), environment, self._device, number)

        if self._address:  # a cluster of our own has what this machine has
            check_nodes(self._work, setting(0))
        self._setting = setting

    def _share_of_gpu(self, needed: float) -> float:
        """Of each worker: where nothing is said, they divide what the cluster has, if that is enough."""
        import ray

        if self._device == "cpu" or self._gpus:
            return needed
        there = ray.cluster_resources().get("GPU", 0.0)
        return max(needed, 1 / math.ceil(self._count / there)) if there >= 1 else 0.0

    def _end_actors(self) -> None:
        if not self._actors:
            return
        import ray

        with contextlib.suppress(Exception):  # of a cluster that is gone
            idle = [actor for actor in self._actors if not (actor.opening or actor.job or actor.shared)]
            ray.get([actor.handle.tidy.remote() for actor in idle], timeout=_TIDY)
        for actor in self._actors:
            with contextlib.suppress(Exception):
                ray.kill(actor.handle)
        self._actors = []


def _why(error: BaseException) -> str:
    """Why a worker was lost, in words."""
    import ray

    text = str(error)
    if getattr(error, "actor_init_failed", False):
        return f"since it could not begin ({last_line(error)})"
    if isinstance(error, ray.exceptions.OutOfMemoryError) or "memory monitor" in text:
        return "killed by Ray since the memory of its node ran out; use fewer --workers, or smaller batches"
    lost = ray.exceptions.NodeDiedError, ray.exceptions.ActorUnavailableError
    if isinstance(error, lost) or "node has died" in text or "node is dead" in text:
        return "with its node, which left the cluster or cannot be reached"
    return "killed, as systems do when memory runs out, or ended by a fault of its own; see Ray's logs on its node"
