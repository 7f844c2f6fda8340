"""Rank correlations over the trials of a study, and within the seeds of a sweep beside controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tangency.errors import NumericsError
from tangency.statistics.permutation import holm
from tangency.statistics.resamples import Array

_PERMUTATIONS = 9999
_ROUNDING = 1e-12
_MOST = 0.95  # rank correlation between seeds above which orders are taken as equal
_SHARE = 0.5  # of y's variance over strengths, in units of the rest, that a control has at least


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ over n trials, its interval, and a two-sided permutation p-value; NaN where it is undefined."""

    rho: float
    low: float
    high: float
    p: float
    n: int


def spearman(x: Array, y: Array, seed: int = 0, level: float = 0.95) -> RankCorrelation:
    """Spearman's ρ of two measures over trials, from draws (T, 1 + B) of one paired bootstrap.

    Each replicate resamples trials as well as images, so the interval holds both kinds of uncertainty; with ten
    trials it is wide, as it must be. p permutes the trials: (1 + #{|ρ_perm| ≥ |ρ|}) / (1 + 9999).
    """
    if x.shape != y.shape or x.ndim != 2:
        raise NumericsError(f"spearman: got shapes {x.shape} and {y.shape}, expected equal (trials, 1 + replicates).")
    finite = np.isfinite(x[:, 0]) & np.isfinite(y[:, 0])
    x, y = x[finite], y[finite]
    trials = len(x)
    if trials < 3 or np.ptp(x[:, 0]) == 0 or np.ptp(y[:, 0]) == 0:
        return RankCorrelation(float("nan"), float("nan"), float("nan"), float("nan"), trials)
    rng = np.random.default_rng(seed)
    rho = float(_row_spearman(x[:, :1].T, y[:, :1].T)[0])
    chosen = rng.integers(trials, size=(x.shape[1] - 1, trials))
    columns = np.arange(1, x.shape[1])[:, None]
    replicates = _row_spearman(x[chosen, columns], y[chosen, columns])
    low, high = np.nanquantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    shuffled = rng.permuted(np.tile(y[:, 0], (_PERMUTATIONS, 1)), axis=1)
    null = _row_spearman(np.tile(x[:, 0], (_PERMUTATIONS, 1)), shuffled)
    p = float((1 + (np.abs(null) >= abs(rho) - 1e-12).sum()) / (1 + _PERMUTATIONS))
    return RankCorrelation(rho, float(low), float(high), p, trials)


def _row_spearman(x: Array, y: Array) -> Array:
    """Pearson correlation of average ranks, row by row, (R, T) × (R, T) to (R,); NaN where a row is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(x, axis=1), rankdata(y, axis=1)
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations: Array = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return correlations


@dataclass(frozen=True)
class SweepPair:
    """Two numbers of a sweep whose link is in question, with what may feign one: (m, S), m strengths of S seeds.

    Args:
        x, y: the numbers, in any unit: only their order within a seed counts.
        covariates: what both may merely follow, such as radius and accuracy; empty for the plain correlation.
        controls: y anew with a target that holds no link, such as another image's (shuffled) or a DCT subspace, and
            that follows the covariates as y does.
    """

    x: Array
    y: Array
    covariates: Mapping[str, Array]
    controls: Mapping[str, Array]


@dataclass(frozen=True)
class ControlCorrelation:
    """A correlation with a control beside the own one; NaN where it is not defined.

    Args:
        rho: mean over seeds of x's partial correlation with the control.
        plain: the same without covariates.
        difference: mean over seeds of own − control: the only claim.
        low, high: ends of its t interval over seeds; NaN below three seeds, or where all seeds have the same one.
        p: two-sided, of a difference of 0; NaN below three seeds. Of seeds that all have the same one: 2^{1−S}.
        p_holm: adjusted over all differences that were computed together.
        each: difference of each seed.
        withheld: why nothing is claimed, so that low, high and both p are NaN; "" where something may be.
    """

    rho: float
    plain: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    each: tuple[float, ...]
    withheld: str = ""


@dataclass(frozen=True)
class WithinSeeds:
    """Partial rank correlation within seeds, mean over seeds, beside its controls.

    Args:
        rho: mean over the seeds in which it and those of all controls are defined; NaN where there is none.
        plain: mean over seeds of the correlation without covariates.
        seeds: how many seeds rho is the mean of.
        each: ρ of each seed, NaN where it is not defined: x or y has no order left beyond the covariates.
        controls: by name.
    """

    rho: float
    plain: float
    seeds: int
    each: tuple[float, ...]
    controls: Mapping[str, ControlCorrelation]


def within_seeds(pairs: Mapping[str, SweepPair], level: float = 0.95) -> dict[str, WithinSeeds]:
    """Partial rank correlations over strengths, ρ_s = corr(R x_s, R y_s) with R the residual on the covariates' ranks.

    Any two curves that rise with the strength correlate, and so does the control's: each seed's sweep is ranked on its
    own, the ranks of the covariates are regressed out, and what remains is a claim only as own − control, with t over
    seeds and Holm's correction over all pairs and controls given. So give all that are printed, in one call. A strength
    that is not finite somewhere is left out in that seed, for the controls too. Where a covariate orders the strengths
    as x does, nothing is left to correlate, and ρ of that seed is NaN; the recipes of all objectives in one sweep break
    such an order.

    Args:
        pairs: by name. A seed needs at least 3 + (number of covariates) strengths, else its ρ is NaN: with fewer, a
            residual has one dimension, and |ρ| = 1 whatever the data.
        level: coverage, in (0, 1).

    Raises:
        NumericsError: shapes differ within a pair, a pair without a control, or a level outside (0, 1).

    Example:
        >>> strength = np.arange(6.0)[:, None] * np.ones((1, 3))
        >>> pair = SweepPair(strength, np.exp(strength), {}, {"shuffled": strength**3})
        >>> found = within_seeds({"κ, LPIPS": pair})["κ, LPIPS"]
        >>> round(found.rho, 9), round(found.controls["shuffled"].rho, 9), found.controls["shuffled"].difference
        (1.0, 1.0, 0.0)

    Deviation: covariates that are measured with error, or act otherwise than in proportion to ranks, are not wholly
    regressed out. Of simulated numbers that follow radius and accuracy alone, p < .05 has been seen in at most 6.5 %
    of sweeps where the control follows them too, and in up to 45 % (20 strengths, 10 seeds) where it is flat. The claim
    is withheld therefore where the control varies less than half as much as y: that leaves 0 % where it is flat, 6.5 %
    at most where its slope is half of y's, and up to 9 % at 0.6 of it (20 strengths, 10 seeds, little noise). With 6 to
    8 strengths whose order hardly varies by seed ρ is mostly not defined.
    Source: partial Spearman correlation, Kendall and Stuart, "The Advanced Theory of Statistics", vol. 2.
    """
    if not 0 < level < 1:
        raise NumericsError(f"within seeds: got the level {level}, expected a coverage between 0 and 1, such as 0.95.")
    own_and_controls = {name: _each_seed(name, pair) for name, pair in pairs.items()}
    without = {name: _each_seed(name, dataclasses.replace(pair, covariates={})) for name, pair in pairs.items()}
    flat = {
        (name, control): _flat(pair.y, values, np.isfinite(own_and_controls[name][0]))
        for name, pair in pairs.items()
        for control, values in pair.controls.items()
    }
    tests = {
        (name, control): _over_seeds((own - other)[np.isfinite(own)], level, claimed=not flat[name, control])
        for name, (own, others) in own_and_controls.items()
        for control, other in others.items()
    }
    adjusted = dict(zip(tests, holm([test[-1] for test in tests.values()]).tolist(), strict=True))
    results = {}
    for name, (own, others) in own_and_controls.items():
        plain, plain_others = without[name]
        controls = {
            control: ControlCorrelation(
                _mean(other),
                _mean(plain_others[control]),
                *tests[name, control],
                adjusted[name, control],
                tuple((own - other).tolist()),
                flat[name, control],
            )
            for control, other in others.items()
        }
        seeds = int(np.isfinite(own).sum())
        results[name] = WithinSeeds(_mean(own), _mean(plain), seeds, tuple(own.tolist()), controls)
    return results


def _each_seed(name: str, pair: SweepPair) -> tuple[Array, dict[str, Array]]:
    """ρ of each seed with y and with each control, (S,); NaN in all of them where one is not defined."""
    sides = [pair.y, *pair.controls.values()]
    everything = [pair.x, *sides, *pair.covariates.values()]
    shapes = {values.shape for values in everything}
    if len(shapes) > 1 or pair.x.ndim != 2 or not pair.controls:
        raise NumericsError(
            f"within seeds: got shapes {', '.join(map(str, sorted(shapes)))} and {len(pair.controls)} controls for "
            f"'{name}', expected one shape (strengths, seeds) and at least one control: only a difference is a claim."
        )
    rho = np.array([_partial_ranks(np.stack(everything)[..., s], len(sides)) for s in range(pair.x.shape[1])])
    rho = rho.reshape(-1, len(sides))
    rho[np.isnan(rho).any(1)] = np.nan
    return rho[:, 0], dict(zip(pair.controls, rho[:, 1:].T, strict=True))


def _partial_ranks(rows: Array, sides: int) -> Array:
    """Correlation of row 0 with each of the next `sides` rows, (1 + sides + covariates, m), given the rows behind."""
    from scipy.stats import rankdata

    ranks = rankdata(rows[:, np.isfinite(rows).all(0)], axis=1)
    ranks = ranks - ranks.mean(1, keepdims=True)
    outer, covariates = ranks[: 1 + sides], ranks[1 + sides :]
    if ranks.shape[1] < 3 + len(covariates):
        return np.full(sides, np.nan)
    residual = outer - (outer @ np.linalg.pinv(covariates)) @ covariates if len(covariates) else outer
    norms = np.linalg.norm(residual, axis=1, keepdims=True)
    # ranks are halves of whole numbers: a residual this small is rounding
    defined = norms > 1e-9 * ranks.shape[1]
    unit = residual / np.where(defined, norms, np.nan)
    correlations: Array = unit[1:] @ unit[0]
    return correlations.clip(-1, 1)


def _flat(y: Array, control: Array, seeds: NDArray[np.bool_]) -> str:
    """Why a control (m, S) takes up too little of what covariates leave of y to be one; "" where it does.

    r̄ is the mean rank correlation between two seeds. r̄/(1 − r̄) estimates the variance over strengths that all seeds
    share in units of the rest, and must be at least half of y's.
    """
    if seeds.sum() < 3:
        return ""
    both = np.stack([y, control])[..., seeds]
    own, other = (min(_repeated(values), _MOST) for values in both[:, np.isfinite(both).all((0, 2))])
    if other / (1 - other) >= _SHARE * own / (1 - own):
        return ""
    return (
        f"the control is flatter over strengths than y within seeds (rank correlation between seeds {other:+.2f}, that "
        f"of y {own:+.2f}), so that it cannot stand for what the covariates leave of y"
    )


def _repeated(values: Array) -> float:
    """Mean Spearman correlation of the columns (m, S) over pairs of seeds."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    ranks = ranks - ranks.mean(0)
    norms, seeds = np.linalg.norm(ranks, axis=0), int(values.shape[1])
    unit = ranks / np.where(norms > 0, norms, 1.0)
    return (float((unit.sum(1) ** 2).sum()) - seeds) / (seeds * (seeds - 1))


def _over_seeds(differences: Array, level: float, claimed: bool = True) -> tuple[float, float, float, float]:
    """Mean, ends of the t interval and two-sided p of differences (S,); NaN ends and p without a claim."""
    from scipy.special import stdtr, stdtrit

    seeds, mean, nan = len(differences), _mean(differences), float("nan")
    if seeds < 3 or not claimed:
        return mean, nan, nan, nan
    if np.ptp(differences) <= _ROUNDING:  # t has no scale: a sign test
        return mean, nan, nan, 2.0 ** (1 - seeds) if abs(mean) > _ROUNDING else 1.0
    error = float(differences.std(ddof=1)) / seeds**0.5
    half = float(stdtrit(seeds - 1, (1 + level) / 2)) * error
    return mean, mean - half, mean + half, 2 * float(stdtr(seeds - 1, -abs(mean) / error))


def _mean(values: Array) -> float:
    """Mean of the finite ones, NaN without any."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
