"""How long tasks take on several workers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from tangency.errors import SpecError


def makespan(phases: Iterable[Sequence[float]], workers: int) -> float:
    """Seconds until the last task of the last phase is done, by list scheduling, as the engines do it.

    In each phase the longest task goes first, each to the worker that is free first; a phase begins when all tasks of
    the one before are done. That is at most 4/3 − 1/(3W) times the best order (Graham 1969).

    Args:
        phases: seconds of each task, by phase.
        workers: W, at least 1.

    Raises:
        SpecError: no workers.

    Source: Graham, Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17 (1969).

    Example:
        >>> makespan([[3, 3, 2, 2, 2], [1]], 2)
        8.0
    """
    if workers < 1:
        raise SpecError(f"workers: got {workers}, expected at least 1.")
    ended = 0.0
    for tasks in phases:
        free = [ended] * min(workers, max(len(tasks), 1))
        for seconds in sorted(tasks, reverse=True):
            heapq.heapreplace(free, free[0] + seconds)
        ended = max(free)
    return ended
