"""The figure of a causal study: every arm under every judge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tangency.cause.arms import OFF
from tangency.cause.entries import CauseResult, JudgeEntry
from tangency.cause.findings import judge_name
from tangency.report.draw.canvas import COLOURS, INK, SOFT, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 2


def cause_figure(result: CauseResult) -> Figure:
    """A panel for each judge: level of each arm with its interval, arms that are not matched as rings."""
    rows = max(1, math.ceil(len(result.judges) / _COLUMNS))
    figure, axes = new_figure(rows, _COLUMNS, 0.6 + rows * (0.7 + 0.2 * len(result.arms)))
    matched = {arm.arm: arm.matched for arm in result.arms}
    for judge, at in zip(result.judges, axes.flat, strict=False):
        _panel(at, judge, matched)
    for at in axes.flat[len(result.judges) :]:
        at.set_axis_off()
    figure.suptitle(f"{result.name}: {result.verdict} (rings: arms that are not matched to {result.base})", fontsize=8)
    return figure


def _panel(at: Axes, judge: JudgeEntry, matched: dict[str, bool]) -> None:
    arms = list(judge.levels)[::-1]
    for place, arm in enumerate(arms):
        level = judge.levels[arm]
        colour = COLOURS[1] if arm == OFF else COLOURS[0]
        at.plot([level.low, level.high], [place, place], color=colour, linewidth=1)
        face = colour if matched.get(arm) else "white"
        at.plot([level.mean], [place], marker="o", color=colour, markerfacecolor=face, linestyle="")
    if judge.best is not None:
        at.axvline(judge.levels[judge.best.sham].mean, color=SOFT, linewidth=0.6, linestyle=":")
    at.set_yticks(range(len(arms)), arms)
    at.set_xlabel("cosine of ∇margin" if judge.kind == "direction" else "F² of ∇margin")
    role = "held out" if judge.held_out else "not held out"
    at.set_title(f"{judge_name(judge.judge)}\n{role}: {judge.verdict}", fontsize=7, color=INK)
