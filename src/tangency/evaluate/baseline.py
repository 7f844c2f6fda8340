"""The regime of one foreign model: only against a standard-trained network of the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tangency.evaluate.entries import ABSENT, EstimateEntry, ExcessEntry, MeasureEntry, Numbers
from tangency.evaluate.regimes import (
    STANDARD,
    bands,
    change_key,
    criteria,
    judge_regimes,
    rows_numbers,
)
from tangency.measures import Rows
from tangency.measures.keys import FRACTION, KAPPA
from tangency.models.independence import averaged_note
from tangency.statistics import PairedBootstrap, Thresholds
from tangency.statistics.regimes import Regime
from tangency.types import Card, Dataset

_NAMES = {"weak": "weak", "bayes_aligned": "Bayes-aligned", "excessive": "excessive", "undetermined": "undetermined"}


@dataclass(frozen=True, kw_only=True)
class RegimeAlone:
    """What can be said of a classifier without a baseline, in words."""

    regime: None = None
    baseline: None = None
    text: str


@dataclass(frozen=True, kw_only=True)
class RegimeAgainst:
    """The regime of a classifier against a baseline; None, with the reason in `text`, where it is not defined.

    Args:
        baseline: its reference.
        warnings: about the baseline, in sentences.
        regime: of the classifier.
        baseline_accuracy: the mean.
        change: key of the on-manifold change that the regime is judged at.
        bands: simultaneous 95 % bands of κ/κ₀, the accuracy difference and R_on/R_on(0).
        sensitivity: accuracy margin to regime.
        thresholds: of the rule.
        text: the same in words.
    """

    baseline: str
    warnings: list[str]
    regime: Regime | None = None
    baseline_accuracy: float | None = field(default=None, metadata=ABSENT)
    change: str | None = field(default=None, metadata=ABSENT)
    bands: dict[str, Numbers] | None = field(default=None, metadata=ABSENT)
    sensitivity: dict[str, Regime] | None = field(default=None, metadata=ABSENT)
    thresholds: Thresholds | None = field(default=None, metadata=ABSENT)
    text: str


def regime_alone(measures: Mapping[str, MeasureEntry], excesses: Mapping[str, ExcessEntry]) -> RegimeAlone:
    """What can be said without a baseline: that a regime needs one, and κ and F² against their controls."""
    sentences = [
        "A regime is a statement about a sweep: give a standard-trained network of the same data as --baseline."
    ]
    kappa, fraction, excess = measures.get(KAPPA), measures.get(FRACTION), excesses.get(FRACTION)
    if kappa and kappa.mean is not None:
        sentences.append(f"Alone: κ = {_estimate(kappa)} (chance 1).")
    if fraction and fraction.mean is not None:
        chance = "" if fraction.chance is None else f" (chance {fraction.chance:.3f})"
        sentences.append(f"F² = {_estimate(fraction)}{chance}.")
    if excess and excess.mean is not None:
        p = "" if excess.p is None or math.isnan(excess.p) else f", p = {excess.p:.2g}"
        sentences.append(f"F² minus its best control ({excess.best_control}): {_estimate(excess, '+')}{p}.")
    return RegimeAlone(text=" ".join(sentences))


def regime_against(rows: Rows, baseline: Rows, name: str, card: Card, data: Dataset) -> RegimeAgainst:
    """The regime of a classifier against a standard-trained one on the same images, with bands and warnings.

    It is None where either does not do better than the best constant answer.

    Args:
        rows, baseline: of both, from the same measurement.
        name: reference of the baseline.
        card: of the baseline.
        data: what both were measured on.
    """
    boot = PairedBootstrap(len(rows.ids), 2000)
    own, base = rows_numbers(rows, boot), rows_numbers(baseline, boot)
    warnings = _doubts(card, data)
    change = change_key(own.draws)
    if KAPPA not in own.draws or change is None:
        missing = "κ of the margin" if KAPPA not in own.draws else "on-manifold changes (--epsilons)"
        text = f"No regime: it needs {missing}, which are not measured."
        return RegimeAgainst(baseline=name, warnings=warnings, text=text)
    guessing = float(data.test.class_counts.max()) / len(data.test)
    for who, numbers in (("model", own), ("baseline", base)):
        if not numbers.estimates["accuracy"].low > guessing:
            text = f"No regime: the accuracy of the {who} is not shown to be above a constant answer's, {guessing:.3f}."
            return RegimeAgainst(baseline=name, warnings=warnings, text=text)
    verdicts, sensitivity = judge_regimes({"model": criteria(own, base, change)})
    verdict = verdicts["model"]
    return RegimeAgainst(
        baseline=name,
        warnings=warnings,
        regime=verdict.regime,
        baseline_accuracy=base.estimates["accuracy"].mean,
        change=change,
        bands=bands(verdict),
        sensitivity=sensitivity["model"],
        thresholds=Thresholds(),
        text=f"Against {name} the model is {_NAMES[verdict.regime]}: "
        f"κ/κ₀ in {_span(verdict.kappa_ratio)}, accuracy difference in {_span(verdict.accuracy_difference)}, "
        f"R_on/R_on(0) in {_span(verdict.change_on_ratio)} (simultaneous 95 % bands).",
    )


def _doubts(card: Card, data: Dataset) -> list[str]:
    """What its card says against a classifier's being a standard-trained network of these data."""
    objective, digest = card.provenance.get("objective"), card.provenance.get("data_digest")
    doubts = []
    if objective not in (None, STANDARD):
        doubts.append(f"The baseline was trained with {objective}, expected a standard-trained network.")
    if digest not in (None, data.train.digest):
        doubts.append(f"The baseline was trained on other images than those of '{data.name}'.")
    reading, warnings = (card.provenance.get(key) for key in ("reading", "warnings"))
    sentences = [*(warnings if isinstance(warnings, list) else [])]
    sentences += [averaged_note()] if isinstance(reading, list) and averaged_note() in reading else []
    return doubts + [f"The baseline: {str(sentence).rstrip('.')}." for sentence in sentences]


def _estimate(e: EstimateEntry, sign: str = "") -> str:
    span = "" if e.low is None or e.high is None else f" {_span((e.low, e.high))}"
    return f"{e.mean:{sign}.3f}{span}"


def _span(band: tuple[float, float]) -> str:
    return f"[{band[0]:.3f}, {band[1]:.3f}]"
