"""Curves against strength, shared by the figures: bands, ticks, regimes as background, the level of the Bayes rule."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.measures.keys import Key
from tangency.report.draw.canvas import COLOURS, INK, LEVEL, MARKERS, SMALL, SOFT, new_figure
from tangency.report.read.trials import BAYES, STANDARD, SweepPoint, SweepStep, bayes_level, column, swept, trained
from tangency.report.text.glossary import REGIMES, objective_name
from tangency.report.text.numbers import number
from tangency.report.text.story import StoryPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

Place = Callable[[float], float]  # of a strength on the x axis

Draw = Callable[["Axes", int, str, Place], None]
REGIME_COLOURS = {"weak": "#9aa1aa", "bayes_aligned": "#0f8577", "excessive": "#c46a1b"}
DIGIT = 4.5  # points, a digit of a tick label


def sweep_figure(points: Sequence[SweepPoint], labels: Sequence[str], height: float, draw: Draw) -> tuple[Figure, Any]:
    """A column for each objective and a row for each label, against strength, with regimes shaded.

    Args:
        points: trials or cells, with at least one objective that has strengths.
        labels: of the rows.
        height: in inches.
        draw: draws the curves of (axes, number of the row, objective, place of a strength).
    """
    objectives = swept(points)
    figure, axes = new_figure(len(labels), len(objectives), height, sharey="row", sharex="col")
    for stack, objective in zip(axes.T, objectives, strict=True):
        own = column(points, objective)
        place = positions(own)
        for row, at in enumerate(stack):
            shade(at, own, place)
            draw(at, row, objective, place)
        stack[0].set_title(objective_name(objective))
        label_strengths(stack[-1], own, place)
        stack[-1].set_xlabel("strength")
    for at, label in zip(axes[:, 0], labels, strict=True):
        at.set_ylabel(label)
    return figure, axes


def positions(points: Sequence[SweepStep]) -> Place:
    """Places of strengths on the x axis: log₁₀, with strength 0 0.75 decades left of the smallest positive one."""
    smallest = min((point.strength for point in points if point.strength > 0), default=1.0)
    return lambda strength: math.log10(strength) if strength > 0 else math.log10(smallest) - 0.75


def series(cells: Sequence[SweepPoint], objective: str, key: str) -> list[tuple[float, float, float, float]]:
    """(strength, mean, low, high) of the cells of an objective; those without the measure are left out.

    Args:
        cells: of a study or a generation task.
        objective: whose strengths; the standard network is its strength 0.
        key: of the measure.
    """
    points = []
    for cell in column(cells, objective):
        entry = cell.measures.get(key)
        if entry and entry.mean is not None:
            low, high = (entry.mean if end is None else end for end in (entry.low, entry.high))
            points.append((cell.strength, entry.mean, low, high))
    return sorted(points)


def draw_curve(axes: Axes, points: list[tuple[float, float, float, float]], place: Place, **style: Any) -> None:
    """A line with markers and its band."""
    if not points:
        return
    strengths, mean, low, high = np.array(points).T
    x = [place(strength) for strength in strengths]
    axes.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)
    axes.plot(x, mean, **style)


def draw_bars(at: Axes, x: Sequence[float], points: Sequence[StoryPoint], colour: str) -> None:
    """The intervals of points that have one."""
    known = [(at, p.mean, p.low, p.high) for at, p in zip(x, points, strict=True) if p.low is not None]
    if known:
        places, means, low, high = np.array(known, dtype=float).T
        bars = [means - low, high - means]
        at.errorbar(places, means, yerr=bars, fmt="none", ecolor=colour, elinewidth=0.9, capsize=1.6)


def label_strengths(axes: Axes, points: Sequence[SweepStep], place: Place) -> None:
    """Ticks at the strengths, "0" for the standard network, without those whose labels would touch."""
    strengths = sorted({point.strength for point in trained(points)})
    grid, figure = axes.get_subplotspec(), axes.get_figure(root=True)
    inches = figure.get_figwidth() if figure else 0.0
    width = 0.68 * 72 * inches / (grid.get_gridspec().ncols if grid else 1)  # points, before the layout is known
    scale = width / (place(strengths[-1]) - place(strengths[0]) + 0.3)
    kept: list[float] = []
    for strength in strengths:
        text = f"{strength:g}{kept[-1]:g}" if kept else ""
        room = DIGIT / 2 * (len(text) - text.count(".") / 2)  # half of each of the two labels
        if not kept or (place(strength) - place(kept[-1])) * scale >= room:
            kept.append(strength)
    axes.set_xticks([place(s) for s in kept], [f"{s:g}" for s in kept])


def shade(axes: Axes, points: Sequence[SweepStep], place: Place) -> None:
    """Background by regime, each strength up to halfway to its neighbours; white where seeds differ."""
    regimes: dict[float, set[str | None]] = {}
    for point in points:
        regimes.setdefault(point.strength, set()).add(point.regime)
    x = [place(s) for s in sorted(regimes)]
    edges = [x[0] - 0.15, *[(a + b) / 2 for a, b in itertools.pairwise(x)], x[-1] + 0.15]
    for (_, own), left, right in zip(sorted(regimes.items()), edges, edges[1:], strict=False):
        colour = REGIME_COLOURS.get(next(iter(own)) or "") if len(own) == 1 else None
        if colour:
            axes.axvspan(left, right, color=colour, alpha=0.13, linewidth=0)
    axes.set_xlim(edges[0], edges[-1])


def draw_bayes(axes: Axes, points: Sequence[SweepPoint], key: Key, colour: str = INK) -> None:
    """A thin line at the level of the Bayes rule; only its value where drawing it to scale would flatten the curves."""
    level, far = bayes_level(points, key)
    name = objective_name(BAYES)
    if level is not None and far:
        axes.plot([], [], color=colour, label=name, **LEVEL)
        place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (3, 3), "textcoords": "offset points"}
        axes.annotate(f"↓ {name} {number(level)}", (0, 0), fontsize=SMALL, color=colour, **place)
    elif level is not None:
        axes.axhline(level, color=colour, label=name, **LEVEL)


def coloured(objectives: Sequence[str]) -> list[tuple[str, str]]:
    """(objective, colour): the standard network in ink, then the others."""
    return list(zip((STANDARD, *objectives), (INK, *COLOURS * len(objectives)), strict=False))


def styles_of(objectives: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Objective to its colour and its marker, which says the same to readers who do not see colours."""
    return {
        objective: {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        for place, objective in enumerate(objectives)
    }


def regime_patches(regimes: Iterable[str]) -> dict[str, Patch]:
    """{label: patch} of the background colours of some regimes."""
    from matplotlib.patches import Patch

    return {REGIMES[regime][0]: Patch(facecolor=REGIME_COLOURS[regime], alpha=0.3) for regime in regimes}


def white_patch() -> Patch:
    """The patch for what has no background colour."""
    from matplotlib.patches import Patch

    return Patch(facecolor="white", edgecolor=SOFT, linewidth=0.6)
