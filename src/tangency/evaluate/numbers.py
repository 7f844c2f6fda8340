"""Rows of one trial to estimates: every measure with its interval, chance level and degenerate count."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tangency.errors import NumericsError
from tangency.measures.definition import LevelContext, needed_column, rank_key
from tangency.measures.keys import Key
from tangency.measures.registry import ingredients, measure_of, pooled
from tangency.statistics import (
    Estimate,
    Excess,
    Interval,
    Kappa,
    Mean,
    Median,
    PairedBootstrap,
    Ratio,
    Statistic,
    SumCosine,
    excesses_over_best,
)
from tangency.statistics.excess import Controlled
from tangency.statistics.resamples import Array

Columns = dict[str, Array]  # measure to values (N,), in image order


@dataclass(frozen=True)
class TrialNumbers:
    """Estimates and bootstrap draws of one trial.

    Args:
        estimates: summary key to its estimate.
        draws: summary key to (1 + B,), paired over trials.
        chance: summary key to the value that a random gradient has, where there is one.
        excess: measure to its excess over its best control (tangent fraction) or over shuffled (alignments, whose
            excess over each other control stands among `controls`).
    """

    estimates: dict[str, Estimate]
    draws: dict[str, Array]
    chance: dict[str, float | None]
    excess: dict[str, Excess]


def best_constant(labels: Tensor) -> float:
    """Accuracy of the best constant answer on images of these labels (N,)."""
    return float(labels.cpu().long().bincount().max()) / len(labels)


def check_replicates(replicates: int) -> None:
    """Raise a `NumericsError` unless there are at least two bootstrap resamples: one has no spread."""
    if replicates < 2:
        raise NumericsError(f"replicates: got {replicates}, expected at least 2; an interval is made of their spread.")


def trial_numbers(
    columns: Columns, boot: PairedBootstrap, dimension: int, classes: int, interval: Interval = "percentile"
) -> TrialNumbers:
    """All numbers of one trial from its columns of (N,) values in image order.

    Intervals are percentile ones by default: on worlds, where the truth is known, they hold it as often as they say,
    and BCa no more often (scripts/coverage_table.py).
    """
    statistics = pooled_statistics(columns, dimension)
    draws = dict(zip(statistics, boot.evaluate(list(statistics.values())), strict=True))
    estimates = {}
    for key, statistic in statistics.items():
        usable = _usable(statistic)
        without = statistic.leave_one_out() if interval == "bca" else None
        n = int(usable.sum())
        estimates[key] = Estimate.of(draws[key], n, len(usable) - n, leave_one_out=without, fewest=statistic.fewest)
    chance = {key: chance_level(key, columns, dimension, classes) for key in draws}
    excess = _excesses(columns, boot, interval) | _pooled_excesses(estimates, draws)
    return TrialNumbers(estimates, draws, chance, excess)


def pooled_statistics(columns: Columns, dimension: int) -> dict[str, Statistic]:
    """Summary key to the statistic that makes its number from rows: a mean or median, a pooled κ, a ratio, CKA."""
    keys = [Key.parse(text) for text in columns]
    statistics: dict[str, Statistic] = {
        str(key): _of_images(key, columns[str(key)]) for key in keys if key.family not in ingredients()
    }
    for family, measure in pooled():
        for key in [key for key in keys if key.family == measure.parts[0]]:
            parts = [needed_column(columns, key.of(part), key) for part in measure.parts]
            if measure.aggregate == "cka":
                statistics[str(key.of(family))] = SumCosine(*parts)
            elif measure.aggregate == "ratio":
                statistics[str(key.of(family))] = Ratio(*parts)
            elif not key.control:
                statistics[str(key.of(family))] = Kappa(parts[0], needed_column(columns, rank_key(key), key), dimension)
    return statistics


def _of_images(key: Key, values: Array) -> Mean | Median:
    measure = measure_of(key.family)
    return Median(values) if measure is not None and measure.aggregate == "median" else Mean(values)


def _usable(statistic: Statistic) -> NDArray[np.bool_]:
    """Images that count; those whose numerator and denominator are both 0 are excluded from a ratio."""
    if not isinstance(statistic, Ratio):
        return statistic.usable()
    return statistic.usable() & ((statistic.numerator > 0) | (statistic.denominator > 0))


def chance_level(key: str, columns: Columns, dimension: int, classes: int) -> float | None:
    """Expected value for a gradient in a uniformly random direction (for accuracy: for guessing), or None.

    F² has mean k/d, one image's ln κ has ψ((d−k)/2) − ψ(k/2) + ln(k/(d−k)), pooled κ exactly 1, a signed cosine 0,
    ρ₂ of a linear function 1 − k/d, noise on halves of equal size a ratio of 1; means over the images where k
    differs. Every measure says its own, see `Measure.level`.
    """
    parsed = Key.parse(key)
    measure = measure_of(parsed.family)
    return None if measure is None else measure.chance_level(LevelContext(parsed, columns, dimension, classes))


def fraction_null(rank: Array, dimension: int) -> tuple[float, float]:
    """Central 95 % of F² for one random gradient: Beta(k/2, (d − k)/2), at the mean rank."""
    from scipy.stats import beta

    k = float(np.mean(rank))
    low, high = beta.ppf([0.025, 0.975], k / 2, (dimension - k) / 2)
    return float(low), float(high)


def controlled(columns: Columns) -> dict[str, Controlled]:
    """Key to its values and those of its headline controls: all that F² has, the shuffled one of alignments."""
    return {key: (values, headline) for key, values, headline, _ in _with_controls(columns) if headline}


def _with_controls(columns: Columns) -> Iterator[tuple[str, Array, dict[str, Array], dict[str, Array]]]:
    """Key, its values, and those of its headline controls and of its other controls, of measures that have some."""
    for text, values in columns.items():
        key = Key.parse(text)
        measure = measure_of(key.family)
        if key.control or measure is None:
            continue
        names = [name for name in measure.controls if str(key.under(name)) in columns]
        held = {name: columns[str(key.under(name))] for name in names}
        headline = measure.headline or tuple(measure.controls)
        first = {name: each for name, each in held.items() if name in headline}
        yield text, values, first, {name: each for name, each in held.items() if name not in headline}


def _excesses(columns: Columns, boot: PairedBootstrap, interval: Interval) -> dict[str, Excess]:
    """Of measures whose number is a mean; those over other controls than the headline's stand beside them."""
    excesses = excesses_over_best(boot, controlled(columns), interval)
    others = {
        (key, name): (values, {name: control})
        for key, values, headline, others in _with_controls(columns)
        for name, control in others.items()
        if headline
    }
    for (key, name), other in excesses_over_best(boot, others, interval).items():
        excesses[key] = dataclasses.replace(excesses[key], controls=excesses[key].controls | {name: other.estimate})
    return excesses


def _pooled_excesses(estimates: dict[str, Estimate], draws: dict[str, Array]) -> dict[str, Excess]:
    """Of CKA, which is no mean over images, over CKA with other images' targets."""
    excesses = {}
    for family, measure in pooled():
        for key in [key for key in map(Key.parse, draws) if key.family == family and not key.control]:
            for control in measure.headline:
                own, other = str(key), str(key.under(control))
                if other in draws:
                    n, degenerate = estimates[own].n, estimates[own].degenerate
                    estimate = Estimate.of(draws[own] - draws[other], n, degenerate, fewest=SumCosine.fewest)
                    excesses[own] = Excess(draws[own] - draws[other], estimate, control, {control: estimate})
    return excesses
