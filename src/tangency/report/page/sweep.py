"""The sections on whole sweeps: thesis and change points, effective strength, convergence."""

from __future__ import annotations

from dataclasses import dataclass

from tangency.report.read.run import RunFiles
from tangency.report.read.sweep import estimators
from tangency.report.text.effective import effective_rows, explained
from tangency.report.text.glossary import objective_name
from tangency.report.text.numbers import capital
from tangency.report.text.thesis import (
    convergence_sentence,
    is_tested,
    moved_words,
    thesis_sentence,
    turn_rows,
    turn_sentence,
)
from tangency.study.summary.entries import StudySummary
from tangency.study.summary.sweep_entries import SweepCurveEntry


@dataclass(frozen=True)
class ThesisText:
    """The thesis on one objective: its status, in a sentence, and the reasons."""

    name: str
    status: str
    sentence: str
    reasons: list[str]


@dataclass(frozen=True)
class ConvergenceRow:
    """A recipe that was trained for longer: epochs, changes with what is allowed, and whether it moved too far."""

    name: str
    epochs: str
    kappa: str
    fractions: list[str]
    moved: bool


@dataclass(frozen=True)
class SweepSection:
    """What is said of whole sweeps.

    Args:
        thesis: by objective.
        absent: sentences on cells without a network, and objectives without a curve.
        turns: objective, curve, peak, t₁, t₂; none with fewer than three networks, as `no_turns` says.
        drop: Δ of t₂, in units of L.
        explained: sentences on one curve of the effective strength.
        effective: titles of the charts against the effective strength; none where no radius was measured.
        convergence: the sentence.
        estimators: headings of the table of convergence.
        rows: of that table.
    """

    thesis: list[ThesisText]
    absent: list[str]
    turns: list[tuple[str, str, str, str, str]]
    no_turns: str
    drop: float | None
    explained: list[str]
    effective: list[str]
    convergence: str
    estimators: list[str]
    rows: list[ConvergenceRow]


def sweep_section(run: RunFiles) -> SweepSection | None:
    """The sections; None for a study without a sweep, and by rule: kappa."""
    summary = run.summary
    if summary.regimes.rule == "kappa" or not (summary.curves or summary.absent):
        return None
    no_turns = turn_sentence(summary)
    return SweepSection(
        thesis=[_thesis(summary, curve) for curve in summary.curves],
        absent=summary.absent,
        turns=[] if no_turns else turn_rows(summary),
        no_turns=no_turns,
        drop=summary.curves[0].alignment_drop if summary.curves else None,
        explained=explained(summary),
        effective=[row.title for row in effective_rows(summary)],
        convergence=convergence_sentence(summary.convergence),
        estimators=list(estimators(summary).values()),
        rows=_convergence(summary),
    )


def _thesis(summary: StudySummary, curve: SweepCurveEntry) -> ThesisText:
    thesis = None if curve.withheld or not is_tested(curve.thesis) else curve.thesis
    status, reasons = (
        (thesis.status, thesis.reasons) if thesis else ("withheld" if curve.withheld else "not tested", [])
    )
    return ThesisText(capital(objective_name(curve.objective)), status, thesis_sentence(summary, curve), reasons)


def _convergence(summary: StudySummary) -> list[ConvergenceRow]:
    keys = estimators(summary)
    return [
        ConvergenceRow(
            entry.cell,
            f"{entry.epochs[0]} → {entry.epochs[1]}",
            moved_words(entry.log_kappa),
            [moved_words(entry.fraction[key]) if key in entry.fraction else "–" for key in keys],
            entry.moved,
        )
        for entry in summary.convergence
    ]
