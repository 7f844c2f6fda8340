"""Progress on standard error: a bar with the time left on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import progress as bars
from rich.console import Console

from tangency.notebook import Report, in_notebook
from tangency.notebook import bars as notebook_bars
from tangency.types import OnProgress

if TYPE_CHECKING:
    from tangency.study.watch import Watcher

_MINUTE = 60.0  # seconds between two lines


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
    said: dict[str, tuple[float, float]] = {}  # of each thing, when its last line was written, and the share it said
    began: dict[str, tuple[str, float, float]] = {}  # its present part, when that began, and the share done then
    started = time.monotonic()

    def show(title: str, part: str, share: float) -> None:
        """A line at the beginning, one a minute, whatever the part, and one at the end."""
        now = time.monotonic()
        if title not in began or began[title][0] != part:
            began[title] = part, now, share
        when, before = said.get(title, (-math.inf, -1.0))
        if now - when < _MINUTE and not before < 1 <= share:
            return
        said[title] = now, share
        _, since, then = began[title]
        left = f" (about {_length((now - since) * (1 - share) / (share - then))} left)" if then < share < 1 else ""
        console.print(
            f"{title}: {share:4.0%} {part}, {_length(now - started)} so far{left}", markup=False, soft_wrap=True
        )

    return show


def _length(seconds: float) -> str:
    """A length of time, in minutes and hours where it is long."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


@contextlib.contextmanager
def advancing(title: str, quiet: bool) -> Iterator[OnProgress]:
    """Progress of work that has one course."""
    with reporting(quiet) as report:
        yield lambda part, share: report(title, part, share)


@contextlib.contextmanager
def watching(quiet: bool) -> Iterator[Watcher]:
    """Progress of the phases of a study."""
    from tangency.study.watch import weighing

    with reporting(quiet) as report:
        yield weighing(report)
