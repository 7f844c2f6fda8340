"""What an engine is given and what it reports: jobs with named inputs, outputs and resources; events as they go on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

ATTEMPTS = 3  # how often a job may lose its worker before the engine gives up

Progress = Callable[[float], None]
DoJob = Callable[[Mapping[str, Any], Progress], None]


@dataclass(frozen=True)
class Resources:
    """What a job needs of its worker.

    Args:
        cpus: cores.
        gpus: accelerators; a fraction where several jobs share one.
        memory: bytes; 0 where it is not known.
    """

    cpus: int = 1
    gpus: float = 0.0
    memory: int = 0


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Args:
        id: hash of what it makes: the same for every engine, order and number of workers.
        name: in words, as in "train standard-0-s0".
        payload: plain JSON data, which the function of `Work.open` is called with.
        cost: relative to the other jobs of its kind; the most costly are begun first.
        inputs: files or folders under the run folder that it reads; one that is missing is not needed.
        outputs: files or folders under the run folder that it makes.
        resources: what it needs of its worker.
    """

    id: str
    name: str
    payload: Mapping[str, Any] = field(compare=False)
    cost: float = 1.0
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    resources: Resources = Resources()


class Work(Protocol):
    """What worker processes do; an object that can be pickled.

    Args:
        threads: of each worker.
    """

    @property
    def threads(self) -> int:
        """Threads of each worker."""

    def data_digest(self) -> str:
        """SHA-256 of the data that jobs read, as this process sees them: the same on every node."""

    def open(self, run: Path, device: str) -> DoJob:
        """What does jobs in this process: called with the payload of a job and told of its progress.

        What it makes stands, whole, when it returns.
        """


@dataclass(frozen=True)
class Event:
    """What happened to a job.

    Args:
        job: the job.
        state: "running" once a worker has it, "progress" with the share that is done, "done", or "lost", which
            means that its worker ended and that it will be tried again.
        share: in [0, 1].
        where: the worker, in words.
        why: it was lost, in words.
    """

    job: Job
    state: Literal["running", "progress", "done", "lost"]
    share: float = 0.0
    where: str = ""
    why: str = ""


OnEvent = Callable[[Event], None]


class Engine(ABC):
    """Does jobs somewhere. A context manager: workers start when there is work, stay, and end with it."""

    dashboard = ""  # URL of a display that the engine has of its own, once it is known

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """End the workers."""

    @abstractmethod
    def do(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """Do all jobs, the most costly first.

        Args:
            jobs: what is to be done, in any order.
            on_event: called as work goes on.

        Raises:
            TangencyError: the first error of a job, or `RunError` where a job lost its worker `ATTEMPTS` times.
        """


def most_costly_first(jobs: Sequence[Job]) -> list[Job]:
    """The order in which jobs are begun."""
    return sorted(jobs, key=lambda job: -job.cost)
