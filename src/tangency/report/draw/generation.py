"""Figures of generation in a study: quality against strength, with regimes and references, and against alignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.evaluate.entries import IntervalEntry
from tangency.evaluate.generation.qualities import Quality
from tangency.measures.keys import FRACTION
from tangency.report.draw.canvas import COLOURS, INK, SMALL, SOFT, legend_below, lines_by_label, new_figure
from tangency.report.draw.curves import (
    REGIME_COLOURS,
    Place,
    coloured,
    draw_curve,
    regime_patches,
    series,
    sweep_figure,
    white_patch,
)
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import BAYES, UNTRAINED, column, swept
from tangency.report.text.generation import (
    REFERENCE_NAMES,
    better_words,
    correlation_words,
    over_words,
    quality_label,
    quality_shown,
)
from tangency.report.text.glossary import REGIMES, objective_name
from tangency.study.generation.entries import GeneratedCell, TaskEntry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# References, by how good they may be expected to be: colour and line; a restoration's truth has no level.
LEVELS = {
    "real": (COLOURS[2], ":"),
    "score": (COLOURS[3], "-."),
    "mixture": (COLOURS[0], "--"),
    "bayes": (COLOURS[1], "-"),
    "input": (SOFT, ":"),
}
CELL_LEVELS = {UNTRAINED: ("untrained network", SOFT, "--"), BAYES: ("Bayes rule", INK, "-")}


def generation_figures(run: RunFiles) -> dict[str, Callable[[], Figure | None]]:
    """Name of each figure to what draws it; none where the study generated nothing."""
    generation = run.summary.generation
    drawings: dict[str, Callable[[], Figure | None]] = {}
    if generation is None:
        return drawings
    for entry in generation.entries:
        if quality_shown(entry):
            drawings[f"generation-{entry.name}"] = partial(_quality, entry, generation.about)
            drawings[f"generation-{entry.name}-alignment"] = partial(_alignment, entry, generation.about)
    return drawings


def levels(entry: TaskEntry, quality: str) -> list[tuple[float, tuple[str, str, str]]]:
    """Levels of the references: (mean, (name, colour, line))."""
    made = [
        (entry.references[source].measures.get(quality), (REFERENCE_NAMES[source], *style))
        for source, style in LEVELS.items()
        if source in entry.references
    ]
    made += [
        (cell.measures.get(quality), CELL_LEVELS[cell.objective])
        for cell in entry.cells
        if cell.objective in CELL_LEVELS
    ]
    return [(e.mean, style) for e, style in made if e is not None and e.mean is not None]


def _quality(entry: TaskEntry, about: dict[str, Quality]) -> Figure | None:
    """Each quality against strength: a row for a quality, a column for an objective, regimes shaded."""
    shown = quality_shown(entry)
    if not swept(entry.cells):
        return None

    def draw(at: Axes, row: int, objective: str, place: Place) -> None:
        for mean, (name, colour, line) in levels(entry, shown[row]):
            at.axhline(mean, color=colour, linestyle=line, linewidth=0.9, label=name)
        label = f"classifiers, 95 % over {over_words(entry.networks)}"
        draw_curve(at, series(entry.cells, objective, shown[row]), place, marker="o", color=INK, label=label)
        points = _networks(entry, objective, shown[row])
        if points:
            at.scatter([place(s) for s, _ in points], [y for _, y in points], s=3, color=SOFT, label="each network")

    labels = [f"{quality_label(quality, about[quality])}\n{better_words(about[quality])}" for quality in shown]
    figure, axes = sweep_figure(entry.cells, labels, 1.7 * len(shown) + 0.9, draw)
    regimes = {cell.regime for cell in entry.cells}
    lines = lines_by_label(axes.flat) | regime_patches(regime for regime in REGIME_COLOURS if regime in regimes)
    if "undetermined" in regimes:
        lines[REGIMES["undetermined"][0]] = white_patch()
    legend_below(figure, lines)
    return figure


def _networks(entry: TaskEntry, objective: str, quality: str) -> list[tuple[float, float]]:
    """(strength, number) of each network of an objective, where recipes have several."""
    cells = [cell for cell in column(entry.cells, objective) if quality in cell.measures and entry.networks > 1]
    return [(cell.strength, each) for cell in cells for each in cell.measures[quality].each if each is not None]


def _alignment(entry: TaskEntry, about: dict[str, Quality]) -> Figure | None:
    """The first quality of each cell against F² and alignment, each minus its shuffled control."""
    quality = quality_shown(entry)[0]
    names = {FRACTION: ("F²", "F²"), entry.alignment: ("alignment", "cosine with the closed form's Bayes direction")}
    keys = [key for key in names if any(key in cell.excess for cell in entry.cells)]
    if not keys:
        return None
    figure, axes = new_figure(1, len(keys), 2.9, sharey=True)
    for at, key in zip(axes[0], keys, strict=True):
        _scatter(at, entry.cells, quality, key)
        at.set_xlabel(f"{names[key][1]} minus shuffled\n(95 % over {over_words(entry.networks)})")
        at.set_title(correlation_words(entry, quality, names[key][0]), fontsize=7)
    axes[0, 0].set_ylabel(quality_label(quality, about[quality]))
    legend_below(figure, lines_by_label([axes[0, 0]]))
    return figure


def _scatter(at: Axes, cells: Sequence[GeneratedCell], quality: str, key: str) -> None:
    """A point with intervals for each cell, joined in the order of strength; the standard network in ink."""
    for objective, colour in coloured(swept(cells)):
        own = sorted(
            (cell for cell in cells if cell.objective == objective and key in cell.excess), key=lambda c: c.strength
        )
        if not own:
            continue
        a, a_reach = _points([cell.excess[key] for cell in own])
        b, b_reach = _points([cell.measures[quality] for cell in own])
        at.plot(a, b, color=colour, linewidth=0.6, alpha=0.5)
        style: dict[str, Any] = {"fmt": "o", "color": colour, "elinewidth": 0.6, "label": objective_name(objective)}
        at.errorbar(a, b, yerr=b_reach, xerr=a_reach, **style)
        offset: dict[str, Any] = {"xytext": (3, 3), "textcoords": "offset points"}
        for cell, *place in zip(own, a, b, strict=True):
            at.annotate(f"{cell.strength:g}", (place[0], place[1]), fontsize=SMALL, color=colour, **offset)


def _points(estimates: Sequence[IntervalEntry]) -> tuple[np.ndarray, np.ndarray]:
    """Means, and lengths of their intervals below and above; 0 where a mean lies just outside its interval."""
    mean, low, high = np.array([(e.mean, e.low, e.high) for e in estimates], float).T
    return mean, np.maximum(0, [mean - low, high - mean])
