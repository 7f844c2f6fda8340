"""The figure of every measure against strength."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tangency.measures.keys import Key
from tangency.report.draw.canvas import COLOURS, INK, lines_by_label, new_figure
from tangency.report.draw.curves import draw_bayes, draw_curve, label_strengths, positions, series
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import swept
from tangency.report.text.glossary import SCALARS, objective_name
from tangency.report.text.measures import parameter_label
from tangency.report.text.panels import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves_figure(run: RunFiles) -> Figure | None:
    """Every measure against strength, one panel each, objectives in colour."""
    trials = run.summary["trials"]
    objectives, shown = swept(trials), panels(trials)
    if not objectives or not shown:
        return None
    columns = 3
    rows = math.ceil(len(shown) / columns)
    figure, axes = new_figure(rows, columns, 1.75 * rows)
    place = positions(trials)
    for panel, at in zip(shown, axes.flat, strict=False):
        key = panel["keys"][panel["chosen"]]
        for colour, objective in zip(COLOURS * len(objectives), objectives, strict=False):
            style = {"color": colour, "marker": "o", "label": objective_name(objective)}
            draw_curve(at, series(trials, objective, str(key)), place, **style)
        draw_bayes(at, trials, key)
        draw_image_control(at, trials, key)
        detail = [parameter_label(key).partition(" (")[0], SCALARS.get(key.quantity, "") if key.target else ""]
        at.set_title("\n".join([panel["text"].title, ", ".join(filter(None, detail))]).strip(), fontsize=7)
        at.set_yscale("log" if key.family == "kappa" else "linear")
        label_strengths(at, trials, place)
    for at in axes.flat[len(shown) :]:
        at.set_axis_off()
    lines = lines_by_label(axes.flat)
    figure.legend(list(lines.values()), list(lines), loc="outside upper center", ncols=5)
    figure.supxlabel("strength (log scale; 0 is the standard network)", fontsize=8)
    return figure


def draw_image_control(axes: Axes, trials: Sequence[Mapping[str, Any]], key: Key) -> None:
    """A dotted line at the value for the image itself in place of the gradient; it is the same for every trial."""
    means = (trial["measures"].get(str(key.under("image")), {}).get("mean") for trial in trials)
    level = next((mean for mean in means if mean is not None), None)
    if level is not None:
        axes.axhline(level, color=INK, linestyle=":", linewidth=0.8, label="image itself")
