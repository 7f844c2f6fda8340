"""Trials that differ in their seed only, taken together: networks are the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tangency.evaluate.entries import plain_number
from tangency.evaluate.numbers import Columns, pooled_statistics
from tangency.statistics import CrossedEstimate, Kappa, Mean, Median, Pooled, Ratio, Statistic, crossed
from tangency.statistics.resamples import Array
from tangency.study.plan import Trial
from tangency.study.summary.sweep import Sweep
from tangency.study.summary.sweep_entries import CellEntry, CellMeasureEntry
from tangency.study.summary.trials import Labelled, Results


def cell_entries(
    sweep: Sweep, results: Results, columns: Mapping[str, Columns], labels: Mapping[str, Labelled]
) -> list[CellEntry]:
    """An entry for each recipe of which a network was measured.

    Args:
        sweep: the recipes.
        results: of the study.
        columns: trial id to its rows.
        labels: cell id to its label.
    """
    return [
        CellEntry(
            id=name,
            objective=own[0].name,
            strength=own[0].strength,
            seeds=[trial.seed for trial in own],
            regime=labels[name].regime if name in labels else None,
            withheld=labels[name].withheld if name in labels else None,
            regime_sensitivity=dict(labels[name].sensitivity) if name in labels else {},
            verdict=labels[name].verdict if name in labels else None,
            measures=_measures(own, results, columns, sweep.rows.dimension),
        )
        for name, own in sweep.trials.items()
    ]


def _measures(
    own: Sequence[Trial], results: Results, columns: Mapping[str, Columns], dimension: int
) -> dict[str, CellMeasureEntry]:
    by_trial = [pooled_statistics(columns[trial.id], dimension) for trial in own]
    numbers = [results.numbers[trial.id] for trial in own]
    shared = [key for key in by_trial[0] if all(key in each for each in by_trial)]
    entries = {}
    for key in shared:
        estimate = of_networks([each[key] for each in by_trial])
        counted = [each.estimates[key] for each in numbers]
        entries[key] = CellMeasureEntry(
            mean=plain_number(estimate.mean),
            low=plain_number(estimate.low),
            high=plain_number(estimate.high),
            n=sum(each.n for each in counted),
            degenerate=sum(each.degenerate for each in counted),
            chance=numbers[0].chance[key],
            networks=estimate.networks,
            unit=estimate.unit,
            each=[plain_number(each) for each in estimate.each],
        )
    return entries


def of_networks(statistics: Sequence[Statistic]) -> CrossedEstimate:
    """One number of several networks on the same images, with the interval of `statistics.crossed`.

    The influence of an image is that of a mean, for medians from the density at the median, else (n − 1) times the
    change when the image is left out. Positive ratios are taken as logarithms, so that their mean is the geometric one.
    """
    parts = [influence(statistic) for statistic in statistics]
    values, influences = np.array([value for value, _ in parts]), np.stack([each for _, each in parts])
    logs = isinstance(statistics[0], Kappa | Ratio) and bool((np.isfinite(values) & (values > 0)).all())
    if not logs:
        return crossed(values, influences)
    estimate = crossed(np.log(values), influences / values[:, None])
    mean, low, high = np.exp([estimate.mean, estimate.low, estimate.high]).tolist()
    return CrossedEstimate(mean, low, high, estimate.networks, estimate.unit, tuple(values.tolist()), estimate.images)


def influence(statistic: Statistic) -> tuple[float, Array]:
    """The number, and the influence of each image on it, (N,); NaN for images that do not enter."""
    if isinstance(statistic, Mean):
        values = np.where(np.isfinite(statistic.values), statistic.values, np.nan)
        mean = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
        return mean, values - mean
    if isinstance(statistic, Median):
        return _median_influence(statistic.columns[0])
    assert isinstance(statistic, Pooled)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic.value(statistic.parts().sum(1, keepdims=True))[0])
        without = statistic.leave_one_out()
        return value, (int(statistic.usable().sum()) - 1) * (value - without)


def _median_influence(values: Array) -> tuple[float, Array]:
    """(1[x > m] − ½)/f(m), the density f from the quantiles beside the median."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan"), np.full(len(values), np.nan)
    beside = min(0.25, 0.5 * len(finite) ** -0.2)
    below, middle, above = np.quantile(finite, [0.5 - beside, 0.5, 0.5 + beside]).tolist()
    sparsity = (above - below) / (2 * beside)
    influence = sparsity * ((values > middle) + 0.5 * (values == middle) - 0.5)
    return middle, np.where(np.isfinite(values), influence, np.nan)
