"""Rows of one trial to estimates: every measure with its interval, chance level and degenerate count."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tangency.measures.registry import (
    ALIGNMENT_CONTROLS,
    CKA_PARTS,
    INGREDIENTS,
    RATIOS,
    TANGENT_CONTROLS,
    control_of,
    family,
    tangents_of,
    tangents_suffix,
)
from tangency.measures.similarity.metrics import metric_of
from tangency.statistics import (
    Estimate,
    Excess,
    Interval,
    Kappa,
    Mean,
    PairedBootstrap,
    Pooled,
    Ratio,
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
    chance = {key: chance_level(key, columns[_rank_key(key)], dimension, classes) for key in draws}
    if "signal_share" in columns:
        share = float(np.mean(columns["signal_share"]))
        chance |= {key: share for key in draws if family(key) == "signal_fraction"}
    if "working_pixels" in columns:
        share = float(np.mean(columns["working_pixels"]))
        chance |= {key: share for key in draws if family(key) == "working_share"}
    if "retrieval_candidates" in columns:
        level = float(np.mean(1 / columns["retrieval_candidates"]))
        chance |= {key: level for key in draws if family(key) == "alignment_retrieval"}
    excess = _excesses(columns, boot, interval) | _pooled_excesses(estimates, draws)
    return TrialNumbers(estimates, draws, chance, excess)


def pooled_statistics(columns: Columns, dimension: int) -> dict[str, Pooled]:
    """Summary key to the statistic that makes its number from rows: a mean, a pooled κ, a ratio of sums, CKA."""
    plain = [key for key in columns if family(key) not in INGREDIENTS]
    statistics: dict[str, Pooled] = {key: Mean(columns[key]) for key in plain}
    for key in [key for key in plain if family(key) == "tangent_fraction" and control_of(key) is None]:
        statistics[key.replace("tangent_fraction", "kappa")] = Kappa(columns[key], columns[_rank_key(key)], dimension)
    for name, (above, under) in RATIOS.items():
        for key in [key for key in columns if family(key) == above]:
            statistics[key.replace(above, name)] = Ratio(columns[key], columns[key.replace(above, under)])
    for key in [key for key in columns if family(key) == CKA_PARTS[0]]:
        parts = [columns[key.replace(CKA_PARTS[0], name)] for name in CKA_PARTS]
        statistics[key.replace(CKA_PARTS[0], "alignment_cka")] = SumCosine(*parts)
    return statistics


def _usable(statistic: Pooled) -> NDArray[np.bool_]:
    """Images that count: one to whose noise nothing answers adds to neither sum of a ratio."""
    if not isinstance(statistic, Ratio):
        return statistic.usable()
    return statistic.usable() & ((statistic.numerator > 0) | (statistic.denominator > 0))


def _rank_key(key: str) -> str:
    """The row that holds the ranks of the tangent spaces behind a key."""
    return f"tangent_rank{tangents_suffix(tangents_of(key))}"


def chance_level(key: str, rank: Array, dimension: int, classes: int) -> float | None:
    """Expected value for a gradient in a uniformly random direction (for accuracy: for guessing), or None.

    F² has mean k/d, one image's ln κ has ψ((d−k)/2) − ψ(k/2) + ln(k/(d−k)), pooled κ exactly 1, a signed cosine 0,
    ρ₂ of a linear function 1 − k/d, noise on halves of equal size a ratio of 1; means over the images where k
    differs.
    """
    from scipy.special import digamma

    k, d = float(np.mean(rank)), dimension
    if family(key).startswith(("accuracy", "certified_accuracy")):  # a constant answer, which nothing can attack
        return 1 / classes
    levels = {
        "tangent_fraction": k / d,
        "kappa": 1.0,
        "rho": 1 - k / d,
        "relative_noise": 1.0,
    }
    proper = rank[(rank > 0) & (rank < d)]
    if family(key) == "log_kappa" and len(proper):
        other = d - proper
        return float(np.mean(digamma(other / 2) - digamma(proper / 2) + np.log(proper / other)))
    metric = metric_of(family(key))
    return levels.get(family(key)) if metric is None else metric.chance


def fraction_null(rank: Array, dimension: int) -> tuple[float, float]:
    """Central 95 % of F² for one random gradient: Beta(k/2, (d − k)/2), at the mean rank."""
    from scipy.stats import beta

    k = float(np.mean(rank))
    low, high = beta.ppf([0.025, 0.975], k / 2, (dimension - k) / 2)
    return float(low), float(high)


def controlled(columns: Columns) -> dict[str, Controlled]:
    """Measure to its values and its excess's controls: all that F² has, the shuffled one of alignments."""
    measures: dict[str, Controlled] = {}
    for key in columns:
        aligned = metric_of(family(key)) is not None
        if control_of(key) is not None or not (aligned or family(key) == "tangent_fraction"):
            continue
        wanted = ("shuffled",) if aligned else TANGENT_CONTROLS
        names = [name for name in wanted if f"{key}.{name}" in columns]
        if names:
            measures[key] = columns[key], {name: columns[f"{key}.{name}"] for name in names}
    return measures


def _excesses(columns: Columns, boot: PairedBootstrap, interval: Interval) -> dict[str, Excess]:
    """Of measures whose number is a mean; those of alignments over their other controls stand beside the shuffled."""
    headline = controlled(columns)
    excesses = excesses_over_best(boot, headline, interval)
    others = {
        f"{key}.{name}": (values, {name: columns[f"{key}.{name}"]})
        for key, (values, _) in headline.items()
        for name in ALIGNMENT_CONTROLS[1:]
        if metric_of(family(key)) is not None and f"{key}.{name}" in columns
    }
    for place, other in excesses_over_best(boot, others, interval).items():
        key = place.removesuffix(f".{other.best}")
        excesses[key] = dataclasses.replace(
            excesses[key], controls=excesses[key].controls | {other.best: other.estimate}
        )
    return excesses


def _pooled_excesses(estimates: dict[str, Estimate], draws: dict[str, Array]) -> dict[str, Excess]:
    """Of CKA, which is no mean over images, over CKA with other images' targets."""
    excesses = {}
    for key in [key for key in draws if family(key) == "alignment_cka" and f"{key}.shuffled" in draws]:
        difference = draws[key] - draws[f"{key}.shuffled"]
        estimate = Estimate.of(difference, estimates[key].n, estimates[key].degenerate, fewest=SumCosine.fewest)
        excesses[key] = Excess(difference, estimate, "shuffled", {"shuffled": estimate})
    return excesses


def plain_number(value: float) -> float | None:
    """A float for strict JSON: None where it is not finite."""
    return float(value) if math.isfinite(value) else None


def as_json(estimate: Estimate, **more: Any) -> dict[str, Any]:
    """An estimate as it stands in summary.json."""
    return {
        "mean": plain_number(estimate.mean),
        "low": plain_number(estimate.low),
        "high": plain_number(estimate.high),
        "n": estimate.n,
        "degenerate": estimate.degenerate,
        **more,
    }
