"""Do 95 % intervals hold the truth 95 % of the time? Data sets are drawn repeatedly from a known population."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tangency.evaluate.numbers import Columns, TrialNumbers, trial_numbers
from tangency.measures.keys import Key
from tangency.statistics import Estimate, Interval, PairedBootstrap

Repair = Callable[[NDArray[np.int64], np.random.Generator], Columns]
_SEED = 7_919


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth.

    Args:
        truth: value in the population.
        share: of the data sets whose interval holds it, in [0, 1].
        error: standard error of that share.
        bias: mean of the estimates minus the truth.
        width: mean width of the intervals.
        datasets: how many data sets had an interval.
    """

    truth: float
    share: float
    error: float
    bias: float
    width: float
    datasets: int


def truth_of(columns: Columns, dimension: int, classes: int) -> TrialNumbers:
    """The numbers of a whole population, as truth: exact where the population is what data sets are drawn from."""
    images = len(next(iter(columns.values())))
    return trial_numbers(columns, PairedBootstrap(images, 1), dimension, classes)


@dataclass(frozen=True)
class Repetition:
    """Repeatedly drawn data sets, each with its intervals.

    Args:
        datasets, n: how many, and images of each.
        replicates: bootstrap resamples of each.
        interval: "percentile" or "bca".
    """

    datasets: int
    n: int
    replicates: int = 1000
    interval: Interval = "percentile"


def coverage(
    columns: Columns,
    truths: dict[str, float],
    dimension: int,
    classes: int,
    repetition: Repetition,
    repair: Repair | None = None,
) -> dict[str, Coverage]:
    """Draw data sets of n images with replacement from a population, and count the intervals that hold the truth.

    Args:
        columns: measure key to (N,) values of the population, as `measure` gives them.
        truths: summary key to its value in the population; a key "excess.KEY" is KEY minus its best control, and
            "excess.KEY.CONTROL" minus that control.
        dimension, classes: of the images.
        repetition: data sets and intervals.
        repair: columns that replace the population's for chosen images, such as controls whose partner must come from
            the same data set.
    """
    rng = np.random.default_rng(_SEED)
    boot = PairedBootstrap(repetition.n, repetition.replicates)
    images = len(next(iter(columns.values())))
    intervals: dict[str, list[tuple[float, float, float]]] = {key: [] for key in truths}
    for _ in range(repetition.datasets):
        chosen = rng.integers(images, size=repetition.n)
        own = {key: values[chosen] for key, values in columns.items()}
        if repair is not None:
            own |= repair(chosen, rng)
        numbers = trial_numbers(own, boot, dimension, classes, repetition.interval)
        for key in truths:
            estimate = _estimate(numbers, key)
            intervals[key].append((estimate.mean, estimate.low, estimate.high))
    return {key: _covered(truths[key], rows) for key, rows in intervals.items()}


def _estimate(numbers: TrialNumbers, key: str) -> Estimate:
    parsed = Key.parse(key)
    if not parsed.excess:
        return numbers.estimates[key]
    excess = numbers.excess[str(dataclasses.replace(parsed, control="", excess=False))]
    return excess.controls[parsed.control] if parsed.control else excess.estimate


def excess_truths(truth: TrialNumbers, measure: str) -> dict[str, float]:
    """ "excess.MEASURE" and "excess.MEASURE.CONTROL" in the population."""
    excess, key = truth.excess[measure], Key.parse(measure)
    controls = {str(key.minus(name)): each.mean for name, each in excess.controls.items()}
    return {str(key.minus()): excess.estimate.mean} | controls


def _covered(truth: float, rows: Iterable[tuple[float, float, float]]) -> Coverage:
    table = np.array([row for row in rows if np.isfinite(row).all()]).reshape(-1, 3)
    if not len(table):
        return Coverage(truth, math.nan, math.nan, math.nan, math.nan, 0)
    mean, low, high = table.T
    slack = 1e-12 * max(1.0, abs(truth))  # an interval of width zero still holds what it equals up to rounding
    holds = (low - slack <= truth) & (truth <= high + slack)
    share = float(holds.mean())
    error = math.sqrt(share * (1 - share) / len(table))
    return Coverage(truth, share, error, float(mean.mean()) - truth, float((high - low).mean()), len(table))
