"""Progress of work that has one course."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_TENTH = 0.1

Advance = Callable[[str, float], None]


@contextlib.contextmanager
def advancing(title: str, quiet: bool) -> Iterator[Advance]:
    """A bar with an ETA on standard error, or a line for each part where that is no terminal; nothing if quiet."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda part, share: None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[part]}"),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task(title, total=1.0, part="")
            yield lambda part, share: progress.update(bar, completed=share, part=part)
    else:
        told: list[tuple[str, float]] = []

        def line(part: str, share: float) -> None:
            """A part's first line, then one a tenth of the whole."""
            if not told or told[-1][0] != part or share >= told[-1][1] + _TENTH:
                told.append((part, share))
                console.print(f"{title}: {share:4.0%} {part}", markup=False, soft_wrap=True)

        yield line
