"""Figures of a sweep: the story, every measure, alignment against κ, and estimators of the tangent space."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tangency.measures.keys import Key
from tangency.report.draw.canvas import COLOURS, INK, MARKERS, SOFT, legend_below, lines_by_label, new_figure
from tangency.report.draw.curves import (
    draw_bars,
    draw_bayes,
    draw_curve,
    label_strengths,
    positions,
    series,
    styles_of,
)
from tangency.report.draw.distractor import plain_ticks
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import STANDARD, mean_of, means, swept
from tangency.report.text.glossary import SCALARS, objective_name
from tangency.report.text.measures import describe, parameter_label
from tangency.report.text.numbers import number
from tangency.report.text.panels import correlation_panels, panels
from tangency.report.text.story import manifold_title, stories
from tangency.study.summary.entries import EstimatorEntry, TrialEntry
from tangency.study.summary.sweep_entries import CorrelationEntry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = ("-", "--", ":", "-.")
_TITLE = 34  # letters of a line of a panel's title


def curves_figure(run: RunFiles) -> Figure | None:
    """Every measure against strength, one panel each, objectives in colour."""
    trials = run.summary.trials
    objectives, shown = swept(trials), panels(trials)
    if not objectives or not shown:
        return None
    rows = math.ceil(len(shown) / 3)
    figure, axes = new_figure(rows, 3, 1.75 * rows)
    for panel, at in zip(shown, axes.flat, strict=False):
        key = panel.keys[panel.chosen]
        draw_measure(at, run, key, objectives)
        detail = [parameter_label(key).partition(" (")[0], SCALARS.get(key.quantity, "") if key.target else ""]
        title = "\n".join(textwrap.wrap(panel.text.title, _TITLE, break_on_hyphens=False))
        at.set_title("\n".join([title, ", ".join(filter(None, detail))]).strip(), fontsize=7)
    for at in axes.flat[len(shown) :]:
        at.set_axis_off()
    lines = lines_by_label(axes.flat)
    figure.legend(list(lines.values()), list(lines), loc="outside upper center", ncols=4)
    figure.supxlabel("strength (log scale; 0 is the standard network)", fontsize=8)
    return figure


def draw_measure(at: Axes, run: RunFiles, key: Key, objectives: Sequence[str]) -> None:
    """A measure against strength: a curve with its band for each objective, the Bayes rule, the image as a control."""
    trials = run.summary.trials
    place = positions(trials)
    styles = styles_of(swept(trials))
    for objective in objectives:
        style = styles[objective] | {"label": objective_name(objective)}
        draw_curve(at, series(run.summary.cells, objective, str(key)), place, **style)
    draw_bayes(at, trials, key)
    for level in means(trials, str(key.under("image")))[:1]:  # of the image itself, equal for all trials
        at.axhline(level, color=INK, linestyle=":", linewidth=0.8, label="image itself")
    if key.family == "kappa":
        at.set_yscale("log")
        plain_ticks(at.yaxis, *at.get_ylim())
    label_strengths(at, trials, place)


def correlations_figure(run: RunFiles) -> Figure | None:
    """log κ against each alignment at the headline σ over trials, raw above and minus control below."""
    shown = correlation_panels(run.summary)[:3]
    if not shown:
        return None
    figure, axes = new_figure(2, len(shown), 4.2, sharex=True)
    for place, panel in enumerate(shown):
        item = panel.items[panel.chosen]
        scatter(axes[0, place], run.summary.trials, item, "raw")
        scatter(axes[1, place], run.summary.trials, item, "minus_control")
        key = Key.parse(item.y)
        axes[0, place].set_ylabel(f"{textwrap.fill(describe(key).title, 24)}\nσ = {key.value:g}")
        axes[1, place].set_ylabel("minus shuffled")
        axes[1, place].set_xlabel("log κ")
    legend_below(figure, lines_by_label([axes[0, 0]]), 5)
    return figure


def scatter(
    axes: Axes, trials: Sequence[TrialEntry], item: CorrelationEntry, kind: Literal["raw", "minus_control"]
) -> None:
    """One point per trained network, coloured by objective; above, the partial correlation, or less its control."""
    styles = {STANDARD: {"color": INK, "marker": "o"}} | styles_of(swept(trials))
    for objective, style in styles.items():
        points = []
        for trial in trials:
            x = mean_of(trial, item.x)
            y = (
                mean_of(trial, item.y)
                if kind == "raw"
                else trial.excess[item.y].mean
                if item.y in trial.excess
                else None
            )
            if trial.objective == objective and x is not None and y is not None:
                points.append((x, y))
        if points:
            x_values, y_values = zip(*points, strict=True)
            axes.scatter(x_values, y_values, s=14, label=objective_name(objective), **style)
    shuffled = item.controls.get("shuffled")
    title = f"partial $r_s$ = {number(item.rho, 2)}"
    if kind == "minus_control" and shuffled:
        known = shuffled.low is not None and shuffled.high is not None
        interval = f" [{number(shuffled.low, 2)}, {number(shuffled.high, 2)}]" if known else ""
        title = f"$r_s$ − shuffled = {number(shuffled.difference, 2)}{interval}"
    axes.set_title(title, fontsize=6.5, loc="right")


def tangents_figure(run: RunFiles) -> Figure | None:
    """log F² over its best control of equal rank against strength: lines by estimator, panels by objective."""
    tangents, sweeps = run.summary.tangents, stories(run.summary)
    titles = [manifold_title(entry.name) for entry in tangents.estimators] if tangents else []
    if not tangents or not any(row.title in titles for story in sweeps for row in story.rows):
        return None
    styles = _styles(tangents.estimators)
    figure, axes = new_figure(1, len(sweeps), 2.8, sharey=True)
    for ax, story in zip(axes[0], sweeps, strict=True):
        place, rows = positions(story.steps), {row.title: row for row in story.rows}
        for name, style in styles.items():
            row = rows.get(manifold_title(name))
            points = row.curves[0].points if row else []
            x = [place(point.strength) for point in points]
            draw_bars(ax, x, points, style["color"])
            ax.plot(x, [point.mean for point in points], label=name, **style)
        ax.axhline(0, color=SOFT, linestyle="--", linewidth=0.8, label="best control")
        label_strengths(ax, story.steps, place)
        ax.set(title=story.name, xlabel="strength")
    axes[0, 0].set_ylabel("log F²/best control")
    legend_below(figure, lines_by_label([axes[0, 0]]))
    return figure


def _styles(estimators: Sequence[EstimatorEntry]) -> dict[str, dict[str, str]]:
    """A colour for each kind; estimators of one kind differ in marker and line."""
    kinds: dict[str, list[str]] = {}
    for entry in estimators:
        kinds.setdefault(entry.kind, []).append(entry.name)
    return {
        name: {
            "color": COLOURS[number_of_kind % len(COLOURS)],
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": _LINES[place % len(_LINES)],
        }
        for number_of_kind, names in enumerate(kinds.values())
        for place, name in enumerate(names)
    }
