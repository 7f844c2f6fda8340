"""Figures of generation in a study: quality against strength, with regimes and references, and against alignment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tangency.measures.keys import FRACTION
from tangency.report.draw.canvas import INK, SOFT, legend_below, lines_by_label, new_figure
from tangency.report.draw.curves import (
    REGIME_COLOURS,
    coloured,
    draw_curve,
    label_strengths,
    positions,
    regime_patches,
    series,
    shade,
    white_patch,
)
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import BAYES, STANDARD, UNTRAINED, swept
from tangency.report.text.generation import (
    REFERENCE_NAMES,
    better_words,
    correlation_words,
    quality_label,
    quality_shown,
)
from tangency.report.text.glossary import REGIMES, objective_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# References, by how good they may be expected to be: colour and line; a restoration's truth has no level.
LEVELS = {
    "real": ("#3b7d4f", ":"),
    "score": ("#7a57b5", "-."),
    "mixture": ("#1f6fb2", "--"),
    "bayes": ("#b3487f", "-"),
    "input": (SOFT, ":"),
}
_WORLD, _BLANK = ("Bayes rule", INK, "-"), ("untrained network", SOFT, "--")


def generation_figures(run: RunFiles) -> dict[str, Callable[[RunFiles], Figure | None]]:
    """Name of each figure to what draws it; none where the study generated nothing."""
    drawings: dict[str, Callable[[RunFiles], Figure | None]] = {}
    for entry in (run.summary.get("generation") or {}).get("entries", []):
        if quality_shown(entry):
            drawings[f"generation-{entry['name']}"] = partial(_quality, entry=entry)
            drawings[f"generation-{entry['name']}-alignment"] = partial(_alignment, entry=entry)
    return drawings


def levels(entry: Mapping[str, Any], quality: str) -> list[tuple[float, tuple[str, str, str]]]:
    """Levels of the references: (mean, (name, colour, line))."""
    out = []
    for source, style in LEVELS.items():
        mean = entry["references"].get(source, {}).get("measures", {}).get(quality, {}).get("mean")
        if mean is not None:
            out.append((mean, (REFERENCE_NAMES[source], *style)))
    for cell in entry["cells"]:
        own = {UNTRAINED: _BLANK, BAYES: _WORLD}.get(cell["objective"])
        mean = cell["measures"].get(quality, {}).get("mean")
        if own and mean is not None:
            out.append((mean, own))
    return out


def _quality(run: RunFiles, entry: Mapping[str, Any]) -> Figure | None:
    """Each quality against strength: a row for a quality, a column for an objective, regimes shaded."""
    cells, shown, objectives = entry["cells"], quality_shown(entry), swept(entry["cells"])
    if not objectives:
        return None
    about = run.summary["generation"]["about"]
    figure, axes = new_figure(len(shown), len(objectives), 1.7 * len(shown) + 0.9, sharey="row", sharex="col")
    for column, objective in enumerate(objectives):
        own = [cell for cell in cells if cell["objective"] in (objective, STANDARD)]
        place = positions(own)
        for row, quality in enumerate(shown):
            at = axes[row, column]
            shade(at, own, place)
            for mean, (name, colour, line) in levels(entry, quality):
                at.axhline(mean, color=colour, linestyle=line, linewidth=0.9, label=name)
            draw_curve(at, series(own, objective, quality), place, marker="o", color=INK, label="classifiers")
            if column == 0:
                at.set_ylabel(f"{quality_label(quality, about[quality])}\n{better_words(about[quality])}")
        axes[0, column].set_title(objective_name(objective))
        label_strengths(axes[-1, column], own, place)
        axes[-1, column].set_xlabel("strength")
    _legend(figure, axes.flat, cells)
    return figure


def _legend(figure: Figure, axes: Any, cells: Sequence[Mapping[str, Any]]) -> None:
    """Lines and background colours, once under the figure."""
    regimes = {cell["regime"] for cell in cells}
    lines = lines_by_label(axes) | regime_patches(regime for regime in REGIME_COLOURS if regime in regimes)
    if "undetermined" in regimes:
        lines[REGIMES["undetermined"][0]] = white_patch()
    legend_below(figure, lines)


def _alignment(run: RunFiles, entry: Mapping[str, Any]) -> Figure | None:
    """The first quality of each cell against F² and alignment, each minus its shuffled control."""
    quality = quality_shown(entry)[0]
    keys = [key for key in (FRACTION, entry["alignment"]) if any(key in cell["excess"] for cell in entry["cells"])]
    if not keys:
        return None
    about = run.summary["generation"]["about"][quality]
    figure, axes = new_figure(1, len(keys), 2.9, sharey=True)
    for at, key in zip(axes[0], keys, strict=True):
        name = "F²" if key == FRACTION else "alignment"
        _scatter(at, entry, quality, key)
        at.set_xlabel(f"{'F²' if name == 'F²' else 'cosine with the Bayes gradient'} minus shuffled")
        at.set_title(correlation_words(entry, quality, name), fontsize=7)
    axes[0, 0].set_ylabel(quality_label(quality, about))
    legend_below(figure, lines_by_label([axes[0, 0]]))
    return figure


def _scatter(at: Axes, entry: Mapping[str, Any], quality: str, key: str) -> None:
    """A point with intervals for each cell, joined in the order of strength; the standard network in ink."""
    for objective, colour in coloured(swept(entry["cells"])):
        own = [cell for cell in entry["cells"] if cell["objective"] == objective and key in cell["excess"]]
        own = sorted(own, key=lambda cell: cell["strength"])
        x = [cell["excess"][key] for cell in own]
        y = [cell["measures"][quality] for cell in own]
        if not own:
            continue
        a, b = ([e["mean"] for e in side] for side in (x, y))
        at.plot(a, b, color=colour, linewidth=0.6, alpha=0.5)
        style: dict[str, Any] = {"fmt": "o", "color": colour, "elinewidth": 0.6, "label": objective_name(objective)}
        at.errorbar(a, b, yerr=_reach(y), xerr=_reach(x), **style)
        offset: dict[str, Any] = {"xytext": (3, 3), "textcoords": "offset points"}
        for cell, *place in zip(own, a, b, strict=True):
            at.annotate(f"{cell['strength']:g}", (place[0], place[1]), fontsize=5.5, color=colour, **offset)


def _reach(estimates: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Lengths of intervals below and above their means; 0 where a mean lies just outside its interval."""
    ends = [(e["mean"] - e["low"], e["high"] - e["mean"]) for e in estimates]
    return [[max(0.0, low) for low, _ in ends], [max(0.0, high) for _, high in ends]]
