"""What all paper figures share: style, colours, width, and the level of the Bayes rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.report.glossary import BAYES, Key, objective_name
from tangency.report.payload import bayes_level
from tangency.report.words import number

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
    "svg.hashsalt": "tangency",
}
COLOURS = ("#1f6fb2", "#b3487f", "#8a6d00", "#3b7d4f", "#7a57b5", "#a8512a", "#4d6a79", "#5c5c5c")
INK, SOFT = "#1d2327", "#7c858d"
WIDTH = 6.75  # inches, the text width of a two-column paper
LEVEL: dict[str, Any] = {"linestyle": "-", "linewidth": 0.7}  # of the Bayes rule


def new_figure(
    rows: int, columns: int, height: float, layout: Any = "constrained", **options: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of the text width with a grid of axes, always as a (rows, columns) array."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def draw_bayes(axes: Axes, trials: Sequence[Mapping[str, Any]], key: Key, colour: str = INK) -> None:
    """A thin level where the Bayes rule lies; its value in words where to scale it would flatten the curves."""
    level, far = bayes_level(trials, key)
    name = objective_name(BAYES)
    if level is not None and far:
        axes.plot([], [], color=colour, label=name, **LEVEL)
        place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (3, 3), "textcoords": "offset points"}
        axes.annotate(f"↓ {name} {number(level)}", (0, 0), fontsize=6, color=colour, **place)
    elif level is not None:
        axes.axhline(level, color=colour, label=name, **LEVEL)
