"""What a benchmark case is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

Work = Callable[[], object]


class SkippedError(Exception):
    """A case that cannot run here, with the reason."""


@dataclass(frozen=True)
class Case:
    """Two ways to the same numbers.

    Args:
        what: stands in the results.
        ours, other: return tensors that must agree to `tolerance` (absolute, in the result's unit).
        tolerance: see there; infinite where the other way is only the work that ours cannot do without.
        more: from our seconds to further numbers of the result.
        at_least: ratio (the other's seconds over ours) below which the case fails; 0 for none.
    """

    what: str
    ours: Callable[[], Tensor]
    other: Callable[[], Tensor]
    tolerance: float
    more: Callable[[float], dict[str, float]] | None = None
    at_least: float = 0.0


def timed(work: Work) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleaved(works: dict[str, Work], repeats: int = 5) -> dict[str, float]:
    """Least CPU seconds of each, measured in turn so that a busy moment meets them all; the first round is a warm-up.

    All work is in one thread of this process, so that other processes hardly change its CPU time.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            started = time.process_time()
            work()
            if repeat:
                times[name].append(time.process_time() - started)
    return {name: min(values) for name, values in times.items()}


def peak_bytes() -> int:
    """Most memory that this program had; `ru_maxrss` counts that of the process which started it, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("VmHWM is not in /proc/self/status")
