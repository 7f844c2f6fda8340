"""The story of a sweep against strength, and against the effective strength that all objectives share."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tangency.report.draw.canvas import COLOURS, COLUMN, INK, SMALL, SOFT, WIDTH, legend_below, new_figure
from tangency.report.draw.curves import (
    REGIME_COLOURS,
    Place,
    draw_bars,
    label_strengths,
    positions,
    regime_patches,
    shade,
    styles_of,
    white_patch,
)
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import BAYES, swept
from tangency.report.text.effective import effective_rows
from tangency.report.text.glossary import REGIMES, objective_name
from tangency.report.text.story import Story, StoryCurve, StoryLevel, StoryMark, StoryRow, paper_stories, stories

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES: tuple[dict[str, Any], ...] = (  # of a row's first curve and second
    {"color": INK, "linestyle": "-"},
    {"color": SOFT, "linestyle": "--"},
)
MARKS = {"peak": COLOURS[0], "t₁": "#0f8577", "t₂": "#c46a1b"}
_CHARS = 17  # of a line of a row's label


def story_figure(run: RunFiles) -> Figure | None:
    """What the study judges against strength: accuracy, L, and log F² over its best control."""
    return _sweeps_figure(stories(run.summary))


def objectives_figure(run: RunFiles) -> Figure | None:
    """Accuracy, alignment beside its shuffled control, and the change on and off the manifold, for each objective."""
    return _sweeps_figure(paper_stories(run.summary))


def _sweeps_figure(drawn: Sequence[Story]) -> Figure | None:
    """Each row against strength: a column for each objective, regimes shaded, networks as points."""
    sweeps = [story for story in drawn if story.rows]
    if not sweeps:
        return None
    titles = list(dict.fromkeys(row.title for story in sweeps for row in story.rows))
    wide = WIDTH if len(sweeps) > 1 else COLUMN
    height = 1.3 * len(titles) + (0.7 if wide == WIDTH else 1.1)
    figure, axes = new_figure(len(titles), len(sweeps), height, wide, sharey="row", sharex="col")
    for stack, story in zip(axes.T, sweeps, strict=True):
        for title, at in zip(titles, stack, strict=True):
            draw_row(at, story, title)
        stack[0].set_title(story.name)
        label_strengths(stack[-1], story.steps, positions(story.steps))
        stack[-1].set_xlabel("strength")
    for at, title in zip(axes[:, 0], titles, strict=True):
        together = title.replace(" = ", "\u00a0=\u00a0")
        at.set_ylabel("\n".join(textwrap.wrap(together, _CHARS, break_on_hyphens=False)))
    _legend(figure, sweeps, 4 if wide == WIDTH else 2)
    return figure


def draw_row(at: Axes, story: Story, title: str) -> None:
    """One row of the sweep of an objective, with its regimes; empty where it has not that row."""
    place = positions(story.steps)
    shade(at, story.steps, place)
    for row in story.rows:
        if row.title == title:
            _draw_row(at, row, place)


def _draw_row(at: Axes, row: StoryRow, place: Place) -> None:
    """Curves with intervals and the points of each network, then levels and marks."""
    from matplotlib.patheffects import withStroke

    for curve, style in zip(row.curves, STYLES, strict=False):
        _draw_curve(at, curve, place, style)
    for level in row.levels:
        style = _level_style(level)
        at.axhline(level.value, **style)
        if style["linestyle"] == ":":  # each objective has the same filter: its name stands in the row
            at.annotate(
                level.name,
                (0.02, level.value),
                xycoords=("axes fraction", "data"),
                fontsize=SMALL,
                color=SOFT,
                va="bottom",
                path_effects=[withStroke(linewidth=1.6, foreground="white")],  # it may cross a curve
            )
    for number, mark in enumerate(row.marks):
        _draw_mark(at, mark, place, number)


def _draw_curve(at: Axes, curve: StoryCurve, place: Place, style: dict[str, Any]) -> None:
    points = curve.points
    x = [place(point.strength) for point in points]
    draw_bars(at, x, points, style["color"])
    at.plot(x, [point.mean for point in points], marker="o", markersize=3, **style)
    if any(len(point.each) > 1 for point in points):
        each = [(x + 0.05, value) for x, point in zip(x, points, strict=True) for value in point.each]
        at.plot(*zip(*each, strict=True), ".", color=style["color"], alpha=0.45, markersize=2.6)


def _level_style(level: StoryLevel) -> dict[str, Any]:
    """The Bayes rule thin and solid, zero dashed, the filtered standard dotted."""
    if level.name == objective_name(BAYES):
        return {"color": INK, "linestyle": "-", "linewidth": 0.7}
    return {"color": SOFT, "linestyle": "--" if level.value == 0 else ":", "linewidth": 0.9}


def _draw_mark(at: Axes, mark: StoryMark, place: Place, number: int) -> None:
    """An interval of strengths at the top of a row, with its estimate; an end beyond the grid reaches the edge."""
    left, right = at.get_xlim()

    def where(end: float | None) -> float:
        return right if end is None else max(left, place(end)) if end else left

    height = 0.97 - 0.1 * number
    y = at.get_xaxis_transform()
    style: dict[str, Any] = {"color": MARKS[mark.name], "transform": y, "clip_on": False}
    at.plot([where(mark.low), where(mark.high)], [height, height], linewidth=1.6, solid_capstyle="butt", **style)
    at.plot([where(mark.at)], [height], marker="d", markersize=3.2, linestyle="none", **style)


def _legend(figure: Figure, sweeps: Sequence[Story], columns: int) -> None:
    """Regimes, what is left white, the curves of a row, levels and marks, once under the figure."""
    from matplotlib.lines import Line2D

    steps = [step for story in sweeps for step in story.steps]
    shown = [regime for regime in REGIME_COLOURS if any(step.regime == regime for step in steps)]
    handles: dict[str, Any] = {}
    for regime, patch in zip(shown, regime_patches(shown).values(), strict=True):
        handles[next(step.label for step in steps if step.regime == regime) or REGIMES[regime][0]] = patch
    if white := sorted({step.label for step in steps if step.regime not in REGIME_COLOURS}):
        handles[", ".join(white)] = white_patch()
    rows = [row for story in sweeps for row in story.rows]
    names = [tuple(curve.name for curve in row.curves) for row in rows if len(row.curves) > 1]
    for place, style in enumerate(STYLES):
        if own := list(dict.fromkeys(pair[place] for pair in names)):
            handles[" / ".join(own)] = Line2D([], [], **style)
    for level in {_level_style(level)["linestyle"]: level for row in rows for level in row.levels}.values():
        style = _level_style(level)
        handles["standard behind the named filter" if style["linestyle"] == ":" else level.name] = Line2D(
            [], [], **style
        )
    for name in dict.fromkeys(mark.name for row in rows for mark in row.marks):
        handles[name] = Line2D([], [], color=MARKS[name], marker="d", markersize=3.2)
    if any(len(point.each) > 1 for row in rows for curve in row.curves for point in curve.points):
        handles["each network"] = Line2D([], [], color=INK, marker=".", linestyle="none", alpha=0.45)
    legend_below(figure, handles, columns)


def effective_figure(run: RunFiles) -> Figure | None:
    """Accuracy, L and log F²/control of all objectives together against the median radius, with R² of one curve."""
    rows = effective_rows(run.summary)
    if not rows:
        return None
    columns = 2 if len(rows) > 1 else 1
    height = -(-len(rows) // columns)
    figure, axes = new_figure(height, columns, 2.0 * height + 0.7)
    styles = styles_of(swept(run.summary.trials))
    for at, row in zip(axes.flat, rows, strict=False):
        for objective, points in row.points.items():
            places = [point.strength for point in points]
            style = styles.get(objective, {"color": INK, "marker": "o"})
            draw_bars(at, places, points, style["color"])
            line = "-" if len(points) > 1 else "none"
            means = [point.mean for point in points]
            at.plot(
                places,
                means,
                markersize=3.4,
                linestyle=line,
                linewidth=0.9,
                label=objective_name(objective),
                **style,
            )
        if row.zero:
            at.axhline(0, color=SOFT, linestyle="--", linewidth=0.8)
        at.set_xscale("log")
        at.set_title(row.title, fontsize=7.5)
        if row.note:
            at.text(0.98, 0.02, row.note, fontsize=SMALL, color=SOFT, ha="right", transform=at.transAxes)
        _plain_ticks(at)
    for at in axes.flat[len(rows) :]:
        at.set_axis_off()
    figure.supxlabel("effective strength: median of margin/‖∇margin‖₂, in [0, 1] pixel units", fontsize=7.5)
    handles = {label: line for at in axes.flat for line, label in zip(*at.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=4)
    return figure


def _plain_ticks(at: Axes) -> None:
    """A few plain numbers on a logarithmic axis."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    low, high = at.get_xlim()
    decades = [a * 10.0**k for k in range(-4, 4) for a in (1, 2, 5)]
    at.xaxis.set_major_locator(FixedLocator([tick for tick in decades if low <= tick <= high]))
    at.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    at.xaxis.set_minor_formatter(NullFormatter())
