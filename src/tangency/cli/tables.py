"""Tables on the terminal, as wide as it is and 80 columns elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape, render
from rich.table import Table

from tangency.evaluate.entries import IntervalEntry
from tangency.report.text.numbers import estimate, half_width, number_or_dash

DASH = "–"
_GAP = 2  # columns between two columns of a table
_LEAST = 14  # columns of a cell that may be broken


def console() -> Console:
    """Standard output: as wide as the terminal, or 80 columns."""
    return Console(highlight=False)


def say(screen: Console, text: str) -> None:
    """A paragraph without markup: broken between words on a terminal, one line elsewhere, where it can be searched."""
    screen.print(text, markup=False, soft_wrap=not screen.is_terminal)


class FittedTable:
    """A table that no screen cuts off: where columns find no room, they stand below, behind the first one again.

    Args:
        titles: of the columns.
        rows: their cells, with markup.
        title: above the table.
        wrapped: titles of columns whose cells may be broken between words; the first one's always may.
    """

    def __init__(
        self, titles: Sequence[str], rows: Iterable[Sequence[str]], title: str | None, wrapped: Collection[str]
    ) -> None:
        self.titles, self.rows, self.title = list(titles), [list(row) for row in rows], title
        self._broken = [place == 0 or name in wrapped for place, name in enumerate(self.titles)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title = self.title
        for part in self._parts(options.max_width):
            yield self._table(part, title, options.max_width)
            title = None

    def _cells(self, place: int) -> int:
        """Columns of the widest line of its cells."""
        lines = (line for row in self.rows for line in render(row[place]).plain.split("\n"))
        return max(map(cell_len, lines), default=0)

    def _least(self, place: int, width: int) -> int:
        """The fewest columns that it needs: whole cells, or words of what may be broken; the first one 3/8 at most."""
        cells, words = self._cells(place), max(map(cell_len, self.titles[place].split()), default=0)
        if place == 0:
            cells = min(cells, width * 3 // 8)
        elif self._broken[place]:
            cells = min(cells, _LEAST)
        return min(max(cells, words), width)

    def _parts(self, width: int) -> Iterator[dict[int, int]]:
        """The columns of each part with what each needs: as many as there is room for, the first one in all."""
        first = self._least(0, width)
        part = {0: first}
        for place in range(1, len(self.titles)):
            needed = self._least(place, width)
            if len(part) > 1 and sum(part.values()) + _GAP * len(part) + needed > width:
                yield part
                part = {0: first}
            part[place] = needed
        yield part

    def _table(self, part: dict[int, int], title: str | None, width: int) -> Table:
        made = Table(title=title and escape(title), title_justify="left", box=None, pad_edge=False, show_edge=False)
        spare = width - sum(part.values()) - _GAP * (len(part) - 1)
        for place in sorted(part, key=lambda place: not self._broken[place]):
            wanted = max(self._cells(place), cell_len(self.titles[place])) - part[place]
            more = max(0, min(spare, wanted))
            part[place] += more
            spare -= more
        for place, columns in part.items():
            side: Literal["left", "right"] = "left" if self._broken[place] else "right"
            made.add_column(escape(self.titles[place]), justify=side, overflow="fold", width=columns)
        for row in self.rows:
            made.add_row(*(row[place] for place in part))
        return made


def table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    wrapped: Collection[str] = (),
    markup: bool = False,
) -> FittedTable:
    """A table without lines: the first column and those `wrapped`, which may be broken, to the left, others right."""
    return FittedTable(titles, rows if markup else [[escape(cell) for cell in row] for row in rows], title, wrapped)


def number(value: float | None, form: str = "") -> str:
    """A number with three significant digits or of a form, or a dash where there is none (no denominator, say)."""
    return number_or_dash(value) if value is None or not form else format(value, form)


def interval(entry: Mapping[str, Any] | IntervalEntry | None, *, signed: bool = False) -> str:
    """A mean with its interval, "0.314 [0.304, 0.324]", to the digits that it settles; a dash where there is none."""
    own = entry_of(entry)
    return DASH if own is None else estimate(own, signed=signed)


def plus_minus(entry: Mapping[str, Any] | IntervalEntry | None, *, signed: bool = False) -> str:
    """A mean and half the width of its interval, "0.314 ± 0.010", likewise."""
    own = entry_of(entry)
    return DASH if own is None else half_width(own, signed=signed)


def entry_of(entry: Mapping[str, Any] | IntervalEntry | None) -> IntervalEntry | None:
    """The estimate of a summary; None where it has no mean."""
    if entry is None or isinstance(entry, IntervalEntry):
        return entry if entry and entry.mean is not None else None
    if entry.get("mean") is None:
        return None
    return IntervalEntry(mean=entry["mean"], low=entry.get("low"), high=entry.get("high"))
