"""The clock that tasks are timed by."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


def clock_for(device: str, threads: int) -> Clock:
    """Seconds of processor time where one thread computes, so that other work on the machine does not count; else wall
    time, since an accelerator or threads that wait for each other show in no other."""
    return time.process_time if device == "cpu" and threads == 1 else time.perf_counter
