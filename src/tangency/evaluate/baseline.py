"""The regime of one foreign model: only against a standard-trained network of the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tangency.evaluate.entries import ABSENT, EstimateEntry, ExcessEntry, MeasureEntry, Numbers
from tangency.evaluate.numbers import best_constant
from tangency.evaluate.regimes.chosen import ChosenFilters
from tangency.evaluate.regimes.kappa import REPLICATES, bands, change_key, criteria, judge_regimes, rows_numbers
from tangency.evaluate.regimes.rows import columns_of
from tangency.evaluate.stream import RowShards
from tangency.evaluate.verdicts import Recipe, RecipeVerdict, SweepRows, verdicts
from tangency.evaluate.verdicts.aligned import WORDS
from tangency.evaluate.verdicts.recipes import STANDARD
from tangency.measures import Rows
from tangency.measures.keys import FRACTION, KAPPA
from tangency.models.independence import averaged_note
from tangency.statistics import KappaThresholds, PairedBootstrap
from tangency.statistics.kappa_rule import KappaRegime
from tangency.statistics.regimes import Regime, Thresholds, spoken
from tangency.types import Card, Dataset

_NAMES = {
    "collapsed": "collapsed",
    "excessive": "excessive",
    "bayes_aligned": "Bayes-aligned",
    "weak": "weak",
    "undetermined": "undetermined",
}


@dataclass(frozen=True, kw_only=True)
class RegimeAlone:
    """What can be said of a classifier without a baseline, in words."""

    regime: None = None
    baseline: None = None
    text: str


@dataclass(frozen=True, kw_only=True)
class RegimeAgainst:
    """The regime of a classifier against a baseline.

    Args:
        baseline: its reference.
        warnings: about the baseline and its filters, in sentences.
        rule: how it is labelled.
        regime: of the classifier.
        verdict: all that is said of the classifier; of one network, so that its intervals are over images.
        standard: the same of the baseline.
        filters: before the baseline, by Bayes direction.
        thresholds: of the rule.
        order: of its tests, in words.
        text: the same in words.
    """

    baseline: str
    warnings: list[str]
    rule: Literal["regimes"] = "regimes"
    regime: Regime
    verdict: RecipeVerdict
    standard: RecipeVerdict
    filters: ChosenFilters
    thresholds: Thresholds
    order: tuple[str, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class KappaAgainst:
    """The regime by the former rule, on κ; None, with the reason in `text`, where it is not defined.

    Args:
        baseline: its reference.
        warnings: about the baseline, in sentences.
        rule: how it is labelled.
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
    rule: Literal["kappa"] = "kappa"
    regime: KappaRegime | None = None
    baseline_accuracy: float | None = field(default=None, metadata=ABSENT)
    change: str | None = field(default=None, metadata=ABSENT)
    bands: dict[str, Numbers] | None = field(default=None, metadata=ABSENT)
    sensitivity: dict[str, KappaRegime] | None = field(default=None, metadata=ABSENT)
    thresholds: KappaThresholds | None = field(default=None, metadata=ABSENT)
    text: str


@dataclass(frozen=True)
class MeasuredBaseline:
    """A baseline with its rows.

    Args:
        reference: of the baseline.
        card: what it says of itself.
        rows: of the baseline.
        filters: that were chosen before it.
        filtered: Bayes direction to rows of the baseline behind the filter for it.
    """

    reference: str
    card: Card
    rows: Rows
    filters: ChosenFilters
    filtered: Mapping[str, Rows]

    @classmethod
    def of(cls, reference: str, card: Card, filters: ChosenFilters, shards: Sequence[RowShards]) -> MeasuredBaseline:
        """From its rows, behind which stand those of it behind each filter."""
        own, *others = (one.rows() for one in shards)
        by_name = dict(zip(dict.fromkeys(filters.names.values()), others, strict=True))
        filtered = {target: by_name[name] for target, name in filters.names.items()}
        return cls(reference, card, own, filters, filtered)


def regime_alone(
    measures: Mapping[str, MeasureEntry], excesses: Mapping[str, ExcessEntry], images: int, estimator: str
) -> RegimeAlone:
    """What can be said without a baseline: that a regime needs one, and κ and F² against their controls.

    Args:
        measures, excesses: of the classifier.
        images: number of test images that were measured.
        estimator: name of the tangent spaces of κ and F².
    """
    sentences = [
        "A regime is a statement about a sweep: give a standard-trained network of the same data as --baseline."
    ]
    numbers = []
    kappa, fraction, excess = measures.get(KAPPA), measures.get(FRACTION), excesses.get(FRACTION)
    if kappa and kappa.mean is not None:
        numbers.append(f"κ = {_estimate(kappa)} (chance 1)")
    if fraction and fraction.mean is not None:
        chance = "" if fraction.chance is None else f" (chance {fraction.chance:.3g})"
        numbers.append(f"F² = {_estimate(fraction)}{chance}")
    if excess and excess.mean is not None:
        p = "" if excess.p is None or math.isnan(excess.p) else f", p = {excess.p:.2g}"
        numbers.append(f"F² minus its best control ({excess.best_control}) = {_estimate(excess, '+')}{p}")
    if numbers:
        sentences.append(f"With the tangent spaces of {estimator}, {_over(images)}: {'; '.join(numbers)}.")
    return RegimeAlone(text=" ".join(sentences))


def regime_against(
    rows: Rows, base: MeasuredBaseline, data: Dataset, estimators: Sequence[str], exact: bool
) -> RegimeAgainst:
    """The regime of a classifier against a standard-trained one on the same images, with its reasons in words.

    Args:
        rows: of the classifier.
        base: the baseline, from the same measurement.
        data: what both were measured on.
        estimators: names of the tangent estimators.
        exact: whether the closed form is the law that the images are drawn from.
    """
    own = Recipe("the model", "", 0.0, {0: columns_of(rows)})
    standard = Recipe("the baseline", STANDARD, 0.0, {0: columns_of(base.rows)})
    sweep = SweepRows(
        [standard, own],
        constant=best_constant(data.test.labels[rows.ids.cpu()]),
        dimension=rows.dimension,
        exact=exact,
        filtered={
            target: Recipe(f"the baseline behind {base.filters.names[target]}", "filter", 0.0, {0: columns_of(behind)})
            for target, behind in base.filtered.items()
        },
        slack=base.filters.slack,
    )
    judged = verdicts(sweep)
    verdict = judged.recipes[own.name]
    notes = [base.filters.note] if base.filters.note else []
    return RegimeAgainst(
        baseline=base.reference,
        warnings=[*_doubts(base.card, data), *notes],
        regime=verdict.regime,
        verdict=verdict,
        standard=judged.recipes[standard.name],
        filters=base.filters,
        thresholds=judged.thresholds,
        order=judged.order,
        text="\n".join(_words(verdict, base, estimators, len(rows.ids))),
    )


def _words(verdict: RecipeVerdict, base: MeasuredBaseline, estimators: Sequence[str], images: int) -> list[str]:
    """Label, L and its rises under each direction, on-manifold under each estimator, in lines."""
    margins = ", ".join(f"{_NAMES[regime]} at δ = {margin}" for margin, regime in verdict.sensitivity.items())
    lines = [
        f"Against {base.reference} the model is {_NAMES[verdict.regime]}: {verdict.reason}.",
        f"{_over(images).capitalize()} each, 95 % intervals over images; {margins}.",
    ]
    for target, under in verdict.aligned.items():
        behind = ""
        if under.over_filter:
            behind = (
                f"; − that of {under.filtered} {spoken(under.over_filter)}, beyond the margin "
                f"{spoken(under.beyond_filter)}"
            )
        lines.append(
            f"L under the {WORDS[target]}: {spoken(under.alignment)}; − the baseline's {spoken(under.over_standard)}"
            f"{behind}."
        )
    lines.append(f"On-manifold: {verdict.on_manifold}.")
    for name, own in verdict.manifold.items():
        lines.append(f"Under {name or estimators[0]}: {own.status}, {own.reason}.")
    return lines


def kappa_against(rows: Rows, base_of: MeasuredBaseline, data: Dataset, estimator: str) -> KappaAgainst:
    """The regime by the former rule, with bands and warnings.

    It is None where either does not do better than the best constant answer.

    Args:
        rows: of the classifier.
        base_of: the baseline, from the same measurement.
        data: what both were measured on.
        estimator: name of the tangent spaces of κ.
    """
    boot = PairedBootstrap(len(rows.ids), REPLICATES)
    own, base, name = rows_numbers(rows, boot), rows_numbers(base_of.rows, boot), base_of.reference
    warnings = _doubts(base_of.card, data)
    change = change_key(own.draws)
    if KAPPA not in own.draws or change is None:
        missing = "κ of the margin" if KAPPA not in own.draws else "on-manifold changes (--epsilons)"
        text = f"No regime: it needs {missing}, which are not measured."
        return KappaAgainst(baseline=name, warnings=warnings, text=text)
    guessing = best_constant(data.test.labels[rows.ids.cpu()])
    for who, numbers in (("model", own), ("baseline", base)):
        if not numbers.estimates["accuracy"].low > guessing:
            text = f"No regime: the accuracy of the {who} is not shown to be above a constant answer's, {guessing:.3f}."
            return KappaAgainst(baseline=name, warnings=warnings, text=text)
    verdicts, sensitivity = judge_regimes({"model": criteria(own, base, change)})
    verdict = verdicts["model"]
    return KappaAgainst(
        baseline=name,
        warnings=warnings,
        regime=verdict.regime,
        baseline_accuracy=base.estimates["accuracy"].mean,
        change=change,
        bands=bands(verdict),
        sensitivity=sensitivity["model"],
        thresholds=KappaThresholds(),
        text=f"Against {name} the model is {_NAMES[verdict.regime]} with the tangent spaces of {estimator}, "
        f"{_over(len(rows.ids))} each: κ/κ₀ in {_span(verdict.kappa_ratio)}, accuracy difference in "
        f"{_span(verdict.accuracy_difference)}, R_on/R_on(0) in {_span(verdict.change_on_ratio)} (simultaneous 95 % "
        "bands over images: they hold for these two networks, not for others of the same training).",
    )


def _over(images: int) -> str:
    return f"over {images} test images, one network"


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
    """A mean with its interval, with three decimals, or as many as show two digits of the interval's half-width."""
    if e.low is None or e.high is None or e.low >= e.high:
        return f"{e.mean:{sign}.3g}"
    decimals = max(3, 1 - math.floor(math.log10((e.high - e.low) / 2)))
    return f"{e.mean:{sign}.{decimals}f} [{e.low:.{decimals}f}, {e.high:.{decimals}f}]"


def _span(band: tuple[float, float]) -> str:
    return f"[{band[0]:.3f}, {band[1]:.3f}]"
