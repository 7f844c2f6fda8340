"""The figure of log κ against each alignment over trials."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tangency.measures.keys import Key
from tangency.report.draw.canvas import legend_below, lines_by_label, new_figure
from tangency.report.draw.curves import coloured
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import swept
from tangency.report.text.glossary import objective_name
from tangency.report.text.measures import describe
from tangency.report.text.numbers import number
from tangency.report.text.panels import correlation_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def correlations_figure(run: RunFiles) -> Figure | None:
    """log κ against each alignment at the headline σ over trials, raw above and minus control below."""
    trials, entries = run.summary["trials"], correlation_panels(run.summary)[:3]
    if not entries:
        return None
    figure, axes = new_figure(2, len(entries), 4.2, sharex=True)
    for column, entry in enumerate(entries):
        item = entry["items"][entry["chosen"]]
        for row, kind in enumerate(("raw", "minus_control")):
            scatter(axes[row, column], trials, item, kind)
            rho = item[kind]
            interval = f"[{number(rho['low'], 2)}, {number(rho['high'], 2)}]"
            axes[row, column].set_title(
                f"Spearman's $r_s$ = {number(rho['rho'], 2)} {interval}", fontsize=6.5, loc="right"
            )
        key = Key.parse(item["y"])
        axes[0, column].set_ylabel(f"{textwrap.fill(describe(key).title, 24)}\nσ = {key.value:g}")
        axes[1, column].set_ylabel("minus shuffled")
        axes[1, column].set_xlabel("log κ")
    legend_below(figure, lines_by_label([axes[0, 0]]), 5)
    return figure


def scatter(axes: Axes, trials: Sequence[Mapping[str, Any]], item: Mapping[str, Any], kind: str) -> None:
    """One point per trained network, coloured by objective."""
    for objective, colour in coloured(swept(trials)):
        points = []
        for trial in trials:
            x = trial["measures"].get(item["x"], {}).get("mean")
            y = (trial["measures"] if kind == "raw" else trial["excess"]).get(item["y"], {}).get("mean")
            if trial["objective"] == objective and x is not None and y is not None:
                points.append((x, y))
        if points:
            x_values, y_values = zip(*points, strict=True)
            axes.scatter(x_values, y_values, s=14, color=colour, label=objective_name(objective))
