"""The figure of several estimators of the tangent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tangency.report.draw.canvas import COLOURS, SOFT, legend_below, lines_by_label, new_figure
from tangency.report.draw.curves import draw_curve, label_strengths, positions, series
from tangency.report.read.keys import fraction_key
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import STANDARD, swept
from tangency.report.text.glossary import objective_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS, _LINES = "os^Dv", ("-", "--", ":", "-.")


def tangents_figure(run: RunFiles) -> Figure | None:
    """F² minus its best control of equal rank against strength: lines by estimator, panels by objective."""
    summary = run.summary
    tangents, objectives = summary.get("tangents"), swept(summary["trials"])
    if not tangents or not objectives:
        return None
    styles = _styles(tangents["estimators"])
    figure, axes = new_figure(1, len(objectives), 2.8, sharey=True)
    for ax, objective in zip(axes[0], objectives, strict=True):
        trials = [t for t in summary["trials"] if t["objective"] in (objective, STANDARD) and t["excess"]]
        place = positions(trials)
        for at, (name, style) in enumerate(styles.items()):
            draw_curve(ax, series(trials, objective, fraction_key(at, name), "excess"), place, label=name, **style)
        ax.axhline(0, color=SOFT, linestyle="--", linewidth=0.8, label="best control")
        label_strengths(ax, trials, place)
        ax.set(title=objective_name(objective), xlabel="strength")
    axes[0, 0].set_ylabel("F² minus its best control")
    legend_below(figure, lines_by_label([axes[0, 0]]))
    return figure


def _styles(estimators: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A colour for each kind; its members differ in marker and line."""
    kinds = list(dict.fromkeys(entry["kind"] for entry in estimators))
    seen: dict[str, int] = {}
    styles = {}
    for entry in estimators:
        place = seen[entry["kind"]] = seen.get(entry["kind"], -1) + 1
        styles[entry["name"]] = {
            "color": COLOURS[kinds.index(entry["kind"]) % len(COLOURS)],
            "marker": _MARKERS[place % len(_MARKERS)],
            "linestyle": _LINES[place % len(_LINES)],
        }
    return styles
