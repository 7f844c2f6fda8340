"""What jobs cost: each worker notes the time that it takes, in a file of its job that every run adds to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from tangency.engines import Progress
from tangency.files import write_json

_PAUSE = 10.0  # seconds between two notes of a job that goes on: what a killed worker leaves uncounted, at most
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Attempt:
    """What one attempt at a job took, whether it was finished or not.

    Args:
        kind: of the job.
        trials: train hashes of those that it was done for.
        seconds, cpu_seconds, gpu_seconds: wall time, processor time with all threads, and time on an accelerator.
    """

    kind: str
    trials: Sequence[str]
    seconds: _Seconds
    cpu_seconds: _Seconds
    gpu_seconds: _Seconds


_ATTEMPTS = TypeAdapter(list[Attempt])


def read_attempts(path: Path) -> list[Attempt]:
    """Every attempt at a job that was noted; none where the file cannot be read, since no result depends on it."""
    try:
        return _ATTEMPTS.validate_json(path.read_bytes())
    except (OSError, ValueError):
        return []


@contextmanager
def noted(path: Path, kind: str, trials: Sequence[str], device: str, progress: Progress) -> Iterator[Progress]:
    """Note what is taken by what is done inside, however it ends; the attempts before it stay.

    GPU seconds are the wall time of a job whose device is an accelerator, and 0 elsewhere.

    Args:
        path: file of the job.
        kind: of the job.
        trials: train hashes of those that it is done for.
        device: that is computed on.
        progress: of the job; the one that is yielded is to be called in its place, and notes now and then.
    """
    before, begun, cpu = [asdict(each) for each in read_attempts(path)], time.perf_counter(), time.process_time()
    last = begun

    def note() -> None:
        seconds = time.perf_counter() - begun
        gpu = seconds if device.startswith("cuda") else 0.0
        write_json(path, [*before, asdict(Attempt(kind, trials, seconds, time.process_time() - cpu, gpu))])

    def advance(share: float) -> None:
        nonlocal last
        progress(share)
        if time.perf_counter() - last >= _PAUSE:
            last = time.perf_counter()
            note()

    try:
        yield advance
    finally:
        note()
