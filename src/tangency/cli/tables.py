"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDE = 150  # columns where the output is no terminal


def console(least: int = 0) -> Console:
    """Standard output: as wide as the terminal, or as tables need; at least `least` columns wide."""
    own = Console(highlight=False)
    return Console(highlight=False, width=max(own.width if own.is_terminal else _WIDE, least))


def table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None, wrapped: Collection[str] = ()
) -> Table:
    """A table without lines: the first column to the left, the others to the right, only those `wrapped` may break."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, show_edge=False)
    for place, name in enumerate(titles):
        made.add_column(escape(name), justify="right" if place else "left", no_wrap=name not in wrapped)
    for row in rows:
        made.add_row(*row)
    return made


def number(value: float | None, form: str = ".3g") -> str:
    """A number, or a dash where there is none (a ratio without a denominator, say)."""
    return "–" if value is None else format(value, form)


def interval(entry: Mapping[str, Any] | None, form: str = ".3g") -> str:
    """A mean with its interval, "0.314 [0.304, 0.324]"; a dash where there is none."""
    if not entry or entry["mean"] is None:
        return "–"
    return f"{number(entry['mean'], form)} [{number(entry['low'], form)}, {number(entry['high'], form)}]"
