"""The figure of a causal study: every arm under every criterion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tangency.cause.arms import OFF
from tangency.cause.entries import CauseResult, CriterionEntry
from tangency.cause.findings import criterion_name
from tangency.report.draw.canvas import COLOURS, INK, SOFT, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 2


def cause_figure(result: CauseResult) -> Figure:
    """A panel for each criterion: level of each arm with its interval, arms that are not matched as rings."""
    rows = max(1, math.ceil(len(result.criteria) / _COLUMNS))
    figure, axes = new_figure(rows, _COLUMNS, 0.6 + rows * (0.7 + 0.2 * len(result.arms)))
    matched = {arm.arm: arm.matched for arm in result.arms}
    for criterion, at in zip(result.criteria, axes.flat, strict=False):
        _panel(at, criterion, matched)
    for at in axes.flat[len(result.criteria) :]:
        at.set_axis_off()
    figure.suptitle(f"{result.name}: {result.verdict} (rings: arms that are not matched to {result.base})", fontsize=8)
    return figure


def _panel(at: Axes, criterion: CriterionEntry, matched: dict[str, bool]) -> None:
    arms = list(criterion.levels)[::-1]
    for place, arm in enumerate(arms):
        level = criterion.levels[arm]
        colour = COLOURS[1] if arm == OFF else COLOURS[0]
        at.plot([level.low, level.high], [place, place], color=colour, linewidth=1)
        face = colour if matched.get(arm) else "white"
        at.plot([level.mean], [place], marker="o", color=colour, markerfacecolor=face, linestyle="")
    if criterion.best is not None:
        at.axvline(criterion.levels[criterion.best.sham].mean, color=SOFT, linewidth=0.6, linestyle=":")
    at.set_yticks(range(len(arms)), arms)
    at.set_xlabel("cosine of ∇margin" if criterion.kind == "direction" else "F² of ∇margin")
    role = "held out" if criterion.held_out else "not held out"
    at.set_title(f"{criterion_name(criterion.criterion)}\n{role}: {criterion.verdict}", fontsize=7, color=INK)
