"""What all figures share: style, colours, widths, legends, and how a figure gets into a page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType, as journals ask
    "ps.fonttype": 42,
    "svg.hashsalt": "tangency",
}
# Of Okabe and Ito, which colour-blind readers can tell apart too; markers say the same again.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = "osD^vP*X"
INK, SOFT = "#1d2327", "#6b747c"
WIDTH, COLUMN = 6.75, 3.25  # inches, the text and the column width of a two-column paper
SMALL = 6.0  # points, the smallest letters of a figure
LEVEL: dict[str, Any] = {"linestyle": "-", "linewidth": 0.7}  # of the Bayes rule


def new_figure(
    rows: int, columns: int, height: float, width: float = WIDTH, layout: Any = "constrained", **options: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of so many inches with a grid of axes, always as a (rows, columns) array."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def lines_by_label(axes: Iterable[Axes]) -> dict[str, Any]:
    """The labelled lines of all axes, each label once."""
    return {label: line for at in axes for line, label in zip(*at.get_legend_handles_labels(), strict=True)}


def legend_below(figure: Figure, lines: dict[str, Any], columns: int = 4) -> None:
    """One legend for the whole figure, under it, in as many columns (of those given at most) as fit its width."""
    for count in range(columns, 0, -1):
        legend = figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=count)
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


@dataclass(frozen=True)
class StillFigure:
    """A figure in a page.

    Args:
        source: the figure as an SVG data URI; its letters are shapes, so that it needs no font.
        numbers: what it shows, as JSON of {"header": [...], "rows": [[...], ...]}.
    """

    source: str
    numbers: str


def still_figure(figure: Figure, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> StillFigure:
    """The figure for a page, with its numbers."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": STYLE["svg.hashsalt"]}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    numbers = json.dumps({"header": header, "rows": rows}, allow_nan=False, ensure_ascii=False)
    return StillFigure("data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode(), numbers)
