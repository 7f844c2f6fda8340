"""How large a difference is, apart from how sure."""

from __future__ import annotations

import numpy as np

from tangency.statistics.pooled import Statistic, exchangeable
from tangency.statistics.resamples import Array


def cohens_dz(differences: Array) -> float:
    """d_z = mean / standard deviation of paired differences (N,), NaN ones left out; 0 is none, sign as the mean's.

    ±∞ where all are equal and not zero, NaN below two of them. Cohen, "Statistical power analysis" (1988), ch. 2.

    Example:
        >>> cohens_dz(np.array([1.0, 2.0, 3.0]))
        2.0
    """
    values = differences[np.isfinite(differences)]
    if len(values) < 2:
        return float("nan")
    return _over(float(values.mean()), values)


def null_sd_units(values: Array, null: Array) -> float:
    """(mean of values − mean of null) / standard deviation of null over the images where both are finite, (N,) each.

    Glass's Δ with the null as the control group: by how many of its standard deviations a measure stands above the
    same measure of shuffled pairs. NaN below two images.

    Example:
        >>> null_sd_units(np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0, 2.0]))
        3.0
    """
    both = np.isfinite(values) & np.isfinite(null)
    if both.sum() < 2:
        return float("nan")
    return _over(float(values[both].mean() - null[both].mean()), null[both])


def pair_dz(first: Statistic, second: Statistic) -> float:
    """d_z of θ(A) − θ(B) by jackknife pseudo-values: of means it is Cohen's d_z of the paired differences.

    Of medians it is that of lying above the median of both.
    """
    a, b = exchangeable(first, second)
    usable = a.usable()
    n = int(usable.sum())
    if n < 2:
        return float("nan")
    whole = float(a.value(a.parts().sum(1)) - b.value(b.parts().sum(1)))
    pseudo = n * whole - (n - 1) * (a.leave_one_out() - b.leave_one_out())[usable]
    if not np.isfinite(pseudo).all():
        return float("nan")
    return _over(whole, pseudo)


def _over(difference: float, values: Array) -> float:
    spread = float(values.std(ddof=1))
    if spread <= 1e-12 * float(np.abs(values).max()):  # rounding alone
        return 0.0 if abs(difference) <= 1e-12 * float(np.abs(values).max()) else float(np.copysign(np.inf, difference))
    return difference / spread
