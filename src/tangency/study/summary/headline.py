"""Correlations, the headline, and its claim under every estimator of the tangent space."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping

import numpy as np

from tangency.evaluate.entries import EstimateEntry, ExcessEntry
from tangency.evaluate.fitting.tangents import tangent_names
from tangency.evaluate.numbers import Columns, TrialNumbers
from tangency.evaluate.regimes import STANDARD
from tangency.measures.definition import rank_key
from tangency.measures.keys import FRACTION, KAPPA, Key
from tangency.measures.similarity.metrics import metric_of
from tangency.statistics import Estimate, KappaVerdict, spearman
from tangency.statistics.resamples import Array
from tangency.study.plan import Trial
from tangency.study.spec import StudySpec
from tangency.study.summary.entries import (
    ClaimEntry,
    CorrelationEntry,
    EstimatorEntry,
    HeadlineEntry,
    RankCorrelationEntry,
    RawRiseEntry,
    TangentsEntry,
)
from tangency.tangents.references import kind_of


def baselines(planned: list[Trial], usable: Container[str]) -> dict[int, Trial]:
    """The standard trial of each seed, the first where there are several, among the trials with these ids."""
    standard: dict[int, Trial] = {}
    for trial in planned:
        if trial.name == STANDARD and trial.id in usable:
            standard.setdefault(trial.seed, trial)
    return standard


def correlations(cells: list[list[TrialNumbers]]) -> list[CorrelationEntry]:
    """Spearman's ρ over cells of ln κ (pooled) with each alignment, raw and minus its shuffled control.

    A cell holds the trials that differ in their seed only, and enters as their mean: counted one by one, repeats of
    one network would shrink p without adding evidence.
    """
    if len(cells) < 3:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        x = _means([[np.log(trial.draws[KAPPA]) for trial in cell] for cell in cells])
    return [
        CorrelationEntry(
            x=str(Key.parse(KAPPA).of("log_kappa")),
            y=str(key),
            raw=_correlation(x, _means([[trial.draws[str(key)] for trial in cell] for cell in cells])),
            minus_control=_correlation(x, _means([[trial.excess[str(key)].draws for trial in cell] for cell in cells])),
        )
        for key in map(Key.parse, cells[0][0].draws)
        if metric_of(key.family) and not key.control
    ]


def _means(cells: list[list[Array]]) -> Array:
    """Mean of each cell's draws, (cells, 1 + B)."""
    return np.stack([np.mean(draws, axis=0) for draws in cells])


def _correlation(x: Array, y: Array) -> RankCorrelationEntry:
    return RankCorrelationEntry(**dataclasses.asdict(spearman(x, y)))


def most_tangent(
    planned: list[Trial], numbers: Mapping[str, TrialNumbers], verdicts: Mapping[str, KappaVerdict]
) -> tuple[Trial, Trial] | None:
    """The weak or Bayes-aligned trial of the largest F², and the standard trial of its seed; None without such a trial.

    The rule is fixed before looking.
    """
    standard = baselines(planned, verdicts)
    candidates = [
        trial
        for trial in planned
        if trial.id in verdicts and trial.seed in standard and trial.name != STANDARD
        if verdicts[trial.id].regime in ("weak", "bayes_aligned")
    ]
    if not candidates:
        return None
    trial = max(candidates, key=lambda t: numbers[t.id].draws[FRACTION][0])
    return trial, standard[trial.seed]


def headline(chosen: tuple[Trial, Trial], numbers: Mapping[str, TrialNumbers], alignment: str) -> HeadlineEntry:
    """The comparison that the verdict is about, of the trial and the baseline that `most_tangent` chose."""
    trial, baseline = chosen
    own, base = numbers[trial.id], numbers[baseline.id]
    tangent, aligned = own.excess[FRACTION], own.excess[alignment]

    def rise(a: Array, b: Array) -> EstimateEntry:
        return EstimateEntry.of(Estimate.of(a - b, own.estimates[FRACTION].n))

    return HeadlineEntry(
        trial=trial.id,
        baseline=baseline.id,
        rule="largest F² among the weak and Bayes-aligned trials",
        tangent_excess=ExcessEntry.of(
            tangent.estimate, best_control=tangent.best, positive=bool(tangent.estimate.low > 0)
        ),
        tangent_excess_rise=rise(tangent.draws, base.excess[FRACTION].draws),
        alignment=alignment,
        alignment_excess=EstimateEntry.of(aligned.estimate),
        alignment_excess_rise=rise(aligned.draws, base.excess[alignment].draws),
        raw_rise=RawRiseEntry(
            tangent_fraction=rise(own.draws[FRACTION], base.draws[FRACTION]),
            alignment=rise(own.draws[alignment], base.draws[alignment]),
        ),
    )


def compare_tangents(
    spec: StudySpec,
    chosen: tuple[Trial, Trial] | None,
    numbers: Mapping[str, TrialNumbers],
    columns: Mapping[str, Columns],
) -> TangentsEntry:
    """F² minus its best control under each estimator: of the trial that `most_tangent` chose, and its rise."""
    names = tangent_names(spec.tangents)
    keys = [Key.parse(FRACTION).at(tangents=name if place else "") for place, name in enumerate(names)]
    first = next(iter(columns.values()))
    estimators = [
        EstimatorEntry(
            name=name,
            kind=kind_of(reference),
            reference=reference,
            rank=float(first[str(rank_key(key))].mean()),
        )
        for name, reference, key in zip(names, spec.tangents, keys, strict=True)
    ]
    if chosen is None:
        return TangentsEntry(estimators=estimators, claim=[])
    trial, baseline = chosen
    own, base = numbers[trial.id], numbers[baseline.id]
    claim = []
    for name, key in zip(names, map(str, keys), strict=True):
        tangent, standard = (each.excess[key] for each in (own, base))
        rise = Estimate.of(tangent.draws - standard.draws, own.estimates[key].n)
        excess = ExcessEntry.of(tangent.estimate, best_control=tangent.best)
        claim.append(
            ClaimEntry(name=name, trial=trial.id, baseline=baseline.id, excess=excess, rise=EstimateEntry.of(rise))
        )
    return TangentsEntry(estimators=estimators, claim=claim)
