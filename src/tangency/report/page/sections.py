"""The sections on signal and distractor, and on estimators of the tangent space: their tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tangency.measures.keys import FRACTION, Key
from tangency.report.read.noise import NoiseCurve, noise_curves, noise_sigmas
from tangency.report.read.run import RunFiles
from tangency.report.text.glossary import SCALARS, control_name
from tangency.report.text.measures import describe
from tangency.report.text.numbers import band, estimate, number, number_or_dash
from tangency.report.text.trials import noise_text, shown_above
from tangency.report.text.verdict import claim_sentence
from tangency.study.summary.entries import EstimatorEntry, StudySummary, TrialEntry
from tangency.study.summary.sweep_entries import CellEntry

SIGNAL = "signal_fraction"


@dataclass(frozen=True)
class NoiseRow:
    """One trial: the gradient's energy on the signal, the ratio at each σ, and where its whole band is above."""

    trial: TrialEntry
    signals: list[str]
    ratios: list[tuple[str, str]]
    above: str
    better: str


@dataclass(frozen=True)
class NoiseSection:
    """The section without its plot: a table, and the plot in words.

    Args:
        level: of the bands, in per cent.
        plotted: whether curves were measured.
        signals: headings of the columns of the gradient's energy on the signal.
        sigmas: headings of the columns of ratios.
        rows: of the table.
        text: the plot in words.
        undefined: whether a ratio is undefined somewhere.
        compared: whether there are differences from the standard network.
    """

    level: int
    plotted: bool
    signals: list[str]
    sigmas: list[str]
    rows: list[NoiseRow]
    text: str
    undefined: bool
    compared: bool


def noise_section(summary: StudySummary) -> NoiseSection | None:
    """The section on signal and distractor; None for data without a signal."""
    measured = dict.fromkeys(key for trial in summary.trials for key in trial.measures)
    keys = [key for key in measured if Key.parse(key).family == SIGNAL]
    curves = {curve.trial.id: curve for curve in noise_curves(summary)}
    sigmas = noise_sigmas(summary)
    if not keys and not curves:
        return None
    shown = [t for t in summary.trials if t.id in curves or any(key in t.measures for key in keys)]
    return NoiseSection(
        level=round(100 * (summary.noise_curves.level or 0.95)),
        plotted=bool(curves),
        signals=[_signal_heading(key, shown, several=len(keys) > 1) for key in keys],
        sigmas=[f"{sigma:g}" for sigma in sigmas],
        rows=[table_row(trial, keys, curves.get(trial.id), sigmas) for trial in shown],
        text=noise_text(list(curves.values()), sigmas),
        undefined=any(mean is None for curve in curves.values() for mean in curve.ratio.mean),
        compared=any(curve.difference for curve in curves.values()),
    )


def _signal_heading(key: str, trials: Sequence[TrialEntry], several: bool) -> str:
    """The heading of a column of the gradient's energy on the signal, with its chance level."""
    own = Key.parse(key)
    name = describe(own).title + (f", {SCALARS.get(own.quantity, '')}" if several else "")
    chance = next((t.measures[key].chance for t in trials if key in t.measures), None)
    return name if chance is None else f"{name} (chance {number(chance, 3)})"


def table_row(trial: TrialEntry, keys: Sequence[str], curve: NoiseCurve | None, sigmas: Sequence[float]) -> NoiseRow:
    """The row of a trial; a dash for what was not measured."""
    ratios: list[tuple[str, str]] = [("–", "")] * len(sigmas)
    above, better = "–", "–"
    if curve:
        ends = zip(curve.ratio.mean, curve.ratio.low, curve.ratio.high, strict=True)
        ratios = [(number(m), "" if low is None or high is None else band((low, high))) for m, low, high in ends]
        above = shown_above(curve.ratio.low, sigmas, 1.0)
        better = shown_above(curve.difference.low, sigmas, 0.0) if curve.difference else "–"
    signals = [estimate(trial.measures[key]) if key in trial.measures else "–" for key in keys]
    return NoiseRow(trial, signals, ratios, above, better)


@dataclass(frozen=True)
class FractionCell:
    """F² of a recipe under one estimator, and log F² over its best control."""

    fraction: str
    least: str
    interval: str
    control: str


@dataclass(frozen=True)
class TangentsSection:
    """The section on estimators of the tangent space: does the claim hold under all of them?"""

    estimators: list[EstimatorEntry]
    sentence: str
    rows: list[tuple[str, list[FractionCell]]]


def tangents_section(run: RunFiles) -> TangentsSection | None:
    """The section on estimators of the tangent space; None for a study with one estimator."""
    tangents = run.summary.tangents
    if not tangents:
        return None
    keys = [name if place else "" for place, name in enumerate(each.name for each in tangents.estimators)]
    rows = [(cell.id, [_cell(cell, key) for key in keys]) for cell in run.summary.cells]
    return TangentsSection(tangents.estimators, claim_sentence(run.summary), rows)


def _cell(cell: CellEntry, estimator: str) -> FractionCell:
    fraction = cell.measures.get(str(Key.parse(FRACTION).at(tangents=estimator)))
    under = cell.verdict.manifold.get(estimator) if cell.verdict else None
    worst = under.worst if under else None
    return FractionCell(
        fraction=number_or_dash(fraction.mean if fraction else None, 3),
        least=number_or_dash(worst.mean if worst else None, 3, signed=True),
        interval=f"{number(worst.low, 3, signed=True)} … {number(worst.high, 3, signed=True)}" if worst else "",
        control=control_name(worst.control) if worst else "",
    )
