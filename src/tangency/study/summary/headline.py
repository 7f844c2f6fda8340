"""Correlations and the headline of a study, from the numbers of its trials."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from tangency.evaluate.numbers import TrialNumbers, as_json, plain_number
from tangency.evaluate.regimes import STANDARD
from tangency.measures.keys import FRACTION, KAPPA, Key
from tangency.measures.similarity.metrics import metric_of
from tangency.statistics import Estimate, Verdict, spearman
from tangency.statistics.resamples import Array
from tangency.study.plan import Trial


def baselines(planned: list[Trial], usable: Container[str]) -> dict[int, Trial]:
    """The standard trial of each seed, the first where there are several, among the trials with these names."""
    standard: dict[int, Trial] = {}
    for trial in planned:
        if trial.name == STANDARD and trial.id in usable:
            standard.setdefault(trial.seed, trial)
    return standard


def correlations(cells: list[list[TrialNumbers]]) -> list[dict[str, Any]]:
    """Spearman's ρ over cells of ln κ (pooled) with each alignment, raw and minus its shuffled control.

    A cell holds the trials that differ in their seed only, and enters as their mean: counted one by one, repeats of
    one network would shrink p without adding evidence.
    """
    if len(cells) < 3:
        return []

    with np.errstate(divide="ignore", invalid="ignore"):
        x = _means([[np.log(trial.draws[KAPPA]) for trial in cell] for cell in cells])
    parsed = map(Key.parse, cells[0][0].draws)
    keys = [str(key) for key in parsed if metric_of(key.family) and not key.control]
    results = []
    for key in keys:
        raw = _means([[trial.draws[key] for trial in cell] for cell in cells])
        excess = _means([[trial.excess[key].draws for trial in cell] for cell in cells])
        pair = {"raw": _correlation(x, raw), "minus_control": _correlation(x, excess)}
        results.append({"x": str(Key.parse(KAPPA).of("log_kappa")), "y": key, **pair})
    return results


def _means(cells: list[list[Array]]) -> Array:
    """Mean of each cell's draws, (cells, 1 + B)."""
    return np.stack([np.mean(draws, axis=0) for draws in cells])


def _correlation(x: Array, y: Array) -> dict[str, Any]:
    result = spearman(x, y)
    names = ("rho", "low", "high", "p")
    return {name: plain_number(getattr(result, name)) for name in names} | {"n": result.n}


def most_tangent(
    planned: list[Trial], numbers: Mapping[str, TrialNumbers], verdicts: Mapping[str, Verdict]
) -> tuple[Trial, Trial] | None:
    """The weak or Bayes-aligned trial of the largest F², and the standard one of its seed; None where there is none."""
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


def headline(
    planned: list[Trial], numbers: dict[str, TrialNumbers], verdicts: dict[str, Verdict], alignment: str
) -> dict[str, Any] | None:
    """The trial that the verdict speaks of: the largest F² among those that are not excessive or undetermined.

    The rule is fixed before looking; its baseline is the standard trial of the same seed.
    """
    chosen = most_tangent(planned, numbers, verdicts)
    if chosen is None:
        return None
    trial, baseline = chosen
    own, base = numbers[trial.id], numbers[baseline.id]
    tangent, aligned = own.excess[FRACTION], own.excess[alignment]

    def rise(a: Array, b: Array) -> dict[str, Any]:
        return as_json(Estimate.of(a - b, own.estimates[FRACTION].n))

    return {
        "trial": trial.id,
        "baseline": baseline.id,
        "rule": "largest F² among the weak and Bayes-aligned trials",
        "tangent_excess": as_json(tangent.estimate, best_control=tangent.best, positive=tangent.estimate.low > 0),
        "tangent_excess_rise": rise(tangent.draws, base.excess[FRACTION].draws),
        "alignment": alignment,
        "alignment_excess": as_json(aligned.estimate),
        "alignment_excess_rise": rise(aligned.draws, base.excess[alignment].draws),
        "raw_rise": {
            "tangent_fraction": rise(own.draws[FRACTION], base.draws[FRACTION]),
            "alignment": rise(own.draws[alignment], base.draws[alignment]),
        },
    }
