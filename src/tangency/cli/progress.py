"""Progress on standard error: a bar with the time left on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import progress as bars
from rich.console import Console

from tangency.notebook import Report, in_notebook
from tangency.notebook import bars as notebook_bars
from tangency.types import OnProgress

if TYPE_CHECKING:
    from tangency.engines import Event, Job
    from tangency.study.run import Watcher

_TENTH = 0.1


@contextlib.contextmanager
def reporting(quiet: bool) -> Iterator[Report]:
    """A bar, or lines, for each thing that is done; nothing if quiet."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda title, part, share: None
    elif in_notebook():
        with notebook_bars() as show_there:
            yield show_there
    elif not console.is_terminal:
        yield _lines(console)
    else:
        columns = (
            bars.TextColumn("{task.description:<10}"),
            bars.BarColumn(),
            bars.TaskProgressColumn(),
            bars.TimeElapsedColumn(),
            bars.TextColumn("left"),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[part]}"),
        )
        with bars.Progress(*columns, console=console, transient=True) as progress:
            started: dict[str, bars.TaskID] = {}

            def show(title: str, part: str, share: float) -> None:
                if title not in started:
                    started[title] = progress.add_task(title, total=1.0, part="")
                progress.update(started[title], completed=share, part=part)

            yield show


def _lines(console: Console) -> Report:
    last: dict[str, tuple[str, float]] = {}
    began: dict[str, tuple[float, float]] = {}  # when the present part began, and the share that was done
    started = time.monotonic()

    def show(title: str, part: str, share: float) -> None:
        """The first line of a part, then one for each tenth of the whole."""
        now, new = time.monotonic(), title not in last or last[title][0] != part
        if new:
            began[title] = now, share
        if new or share >= last[title][1] + _TENTH:
            last[title] = part, share
            since, before = began[title]
            left = f" (about {(now - since) * (1 - share) / (share - before):.0f} s left)" if share > before else ""
            passed = f"{now - started:.0f} s so far{left}"
            console.print(f"{title}: {share:4.0%} {part}, {passed}", markup=False, soft_wrap=True)

    return show


@contextlib.contextmanager
def advancing(title: str, quiet: bool) -> Iterator[OnProgress]:
    """Progress of work that has one course."""
    with reporting(quiet) as report:
        yield lambda part, share: report(title, part, share)


@contextlib.contextmanager
def watching(quiet: bool) -> Iterator[Watcher]:
    """Progress of the phases of a study, whose jobs are weighted by their cost; what is lost is counted."""
    with reporting(quiet) as report:
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

        yield watch
