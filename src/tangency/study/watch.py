"""How a study says to who waits for it how its phases go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tangency.engines import Event, Job
from tangency.notebook import Report, bars, in_notebook

# (phase, its jobs, what happened to one of them) as work goes on; a phase is announced with None
Watcher = Callable[[str, list[Job], Event | None], None]


def weighing(report: Report) -> Watcher:
    """Each phase and the share of it that is done, jobs weighted by their cost; what is lost is counted."""
    shares: dict[str, float] = {}
    lost: dict[str, int] = {}

    def watch(phase: str, jobs: list[Job], event: Event | None) -> None:
        if event is not None:
            shares[event.job.id] = event.share
            lost[phase] = lost.get(phase, 0) + (event.state == "lost")
        whole = sum(each.cost for each in jobs)
        done = sum(each.cost * shares.get(each.id, 0.0) for each in jobs)
        words = f"of {len(jobs)} tasks" + (f", {lost[phase]} lost and tried again" if lost.get(phase) else "")
        report(phase, words if jobs else "was done before", done / whole if whole else 1.0)

    return watch


@contextlib.contextmanager
def watched(watch: Watcher | None) -> Iterator[Watcher]:
    """The caller's own; without one a bar for each phase in a notebook, and nothing elsewhere."""
    if watch is not None:
        yield watch
    elif in_notebook():
        with bars() as report:
            yield weighing(report)
    else:
        yield lambda *_: None
