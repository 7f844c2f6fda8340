"""Effective strength: what accuracy, L and log F²/control are at the median radius, whichever objective gave it."""

from __future__ import annotations

from dataclasses import dataclass

from tangency.report.read.sweep import trained_cells
from tangency.report.read.trials import STANDARD
from tangency.report.text.glossary import objective_name
from tangency.report.text.numbers import number
from tangency.report.text.score import direction_label, direction_name
from tangency.report.text.story import StoryPoint, StoryRow, stories
from tangency.study.summary.entries import StudySummary
from tangency.study.summary.sweep_entries import CommonCurveEntry, CommonFitEntry


@dataclass(frozen=True)
class EffectiveRow:
    """One panel: its title, the points of each objective by rising strength, R² in a note, whether 0 is a level."""

    title: str
    points: dict[str, list[StoryPoint]]
    note: str
    zero: bool


def effective_rows(summary: StudySummary) -> list[EffectiveRow]:
    """The rows of the story against the radius in place of the strength; none where no radius was measured."""
    radii = {
        (cell.objective, cell.strength): cell.verdict.radius.mean
        for cell in trained_cells(summary)
        if cell.verdict and cell.verdict.radius and cell.verdict.radius.mean > 0
    }
    sweeps = stories(summary)
    if not radii or not sweeps or summary.regimes.rule == "kappa":
        return []
    notes = {f"L, {direction_label(e.direction)}": _note(e) for e in summary.common_curves}
    rows: dict[str, EffectiveRow] = {}
    for story in sweeps:
        objectives = {step.strength: step.objective for step in story.steps}
        for row in story.rows:
            own = rows.setdefault(row.title, EffectiveRow(row.title, {}, notes.get(row.title, ""), _zero(row)))
            for point in row.curves[0].points:
                place = (objectives[point.strength], point.strength)
                if place in radii and (place[1] or place[0] not in own.points):
                    moved = StoryPoint(radii[place], point.mean, point.low, point.high, point.each)
                    own.points.setdefault(place[0], []).append(moved)
    return list(rows.values())


def _zero(row: StoryRow) -> bool:
    return any(level.value == 0 for level in row.levels)


def _note(curve: CommonCurveEntry) -> str:
    if curve.r2 is None:
        return ""
    return f"one curve: R² = {number(curve.r2, 2)}; of recipes left out {number(curve.r2_out, 2)}"


def explained(summary: StudySummary) -> list[str]:
    """How much of L one curve of the radius explains, a sentence for each direction."""
    out = []
    for curve in summary.common_curves:
        name = direction_name(summary, curve.direction)
        if curve.r2 is None:
            few = f"{curve.cells} recipes of {len(curve.objectives)} objectives"
            out.append(f"Under {name}: too few recipes for a common curve ({few}).")
            continue
        others = [objective_name(each.partition("-")[0]) for each in curve.objectives if each != STANDARD]
        out.append(
            f"Under {name}, one curve of the effective strength explains R² = {_r2(curve)} of the differences "
            f"in L over {curve.cells} recipes (the standard one, {', '.join(others)}); with each recipe predicted from "
            f"the others, R² = {number(curve.r2_out, 2)}."
        )
        if curve.kappa and curve.beyond_accuracy and curve.kappa_beyond_accuracy:
            out.append(
                f"One curve of κ explains R² = {_r2(curve.kappa)}. Of what accuracy leaves of L, the effective "
                f"strength explains R² = {_r2(curve.beyond_accuracy)}, κ {_r2(curve.kappa_beyond_accuracy)}."
            )
    return out


def _r2(fit: CommonCurveEntry | CommonFitEntry) -> str:
    """R² with its interval over networks, where there is one."""
    interval = "" if fit.low is None else f" [{number(fit.low, 2)}, {number(fit.high, 2)}]"
    return number(fit.r2, 2) + interval
