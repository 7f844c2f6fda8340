"""Permutation tests of paired images, and Holm's correction for many tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.pooled import Pooled, Statistic, exchangeable
from tangency.statistics.resamples import Array, SignFlips

Alternative = Literal["greater", "two-sided"]
_TIE = 1e-12  # relative difference that is rounding


def flip_p(flips: SignFlips, contrasts: Sequence[Pooled], alternative: Alternative = "greater") -> list[float]:
    """p-value of each mean paired difference against zero: p = (1 + #{flipped ≥ observed}) / (1 + P).

    Under the null of no difference within pairs their sign is a coin's: exact for a gradient against its own and
    another image's score, which are exchangeable where the gradient knows nothing of its image. Summands of a
    contrast are its first part; all contrasts are tested in one pass. NaN where no image has a pair.
    """
    if not contrasts:
        return []
    sums = flips.accumulate(lambda where: np.stack([c.parts(where)[0] for c in contrasts]))
    return [
        permutation_p(row, alternative) if c.usable().any() else float("nan")
        for c, row in zip(contrasts, sums, strict=True)
    ]


def swap_p(flips: SignFlips, pairs: Sequence[tuple[Statistic, Statistic]]) -> list[float]:
    """Two-sided p-value of θ(A) − θ(B), with A and B swapped image by image under the null of no difference.

    For any statistic of sums: those of A and B under a swap are half their sum, plus and minus half the signed sum of
    their differences. Of means it is the sign-flip test, of accuracies McNemar's, of medians Mood's with pairs. Images
    enter where both have a value.
    """
    if not pairs:
        return []
    held = [exchangeable(a, b) for a, b in pairs]
    signed = flips.accumulate(lambda where: np.concatenate([a.parts(where) - b.parts(where) for a, b in held]))
    p_values, start = [], 0
    for a, b in held:
        whole = (a.parts() + b.parts()).sum(1)[:, None]
        difference = signed[start : start + len(whole)]
        start += len(whole)
        swapped = a.value((whole + difference) / 2) - b.value((whole - difference) / 2)
        p_values.append(permutation_p(swapped, "two-sided"))
    return p_values


def matching_p(similarity: Array, permutations: int = 9999, seed: int = 0) -> float:
    """p-value of the mean of the diagonal of (N, N) similarities among those of random matchings of rows and columns.

    Rows are gradients, columns scores of the same images: p = (1 + #{mean S[i, π(i)] ≥ mean S[i, i]})/(1 + P), the
    permutation test of alignment where every gradient has been compared with every score. Images whose row or column
    is not finite are left out; NaN below two.

    Raises:
        NumericsError: the matrix is not square.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> matching_p(np.eye(30) + rng.normal(size=(30, 30))), matching_p(np.ones((5, 5)))
        (0.0001, 1.0)
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
        raise NumericsError(f"matching: got similarities of shape {similarity.shape}, expected (N, N).")
    usable = np.isfinite(np.diag(similarity))
    inner = similarity[np.ix_(usable, usable)]
    whole = np.isfinite(inner).all(0) & np.isfinite(inner).all(1)
    inner = inner[np.ix_(whole, whole)]
    n = len(inner)
    if n < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    rows = np.arange(n)
    matched = [inner[rows, rows].mean(), *(inner[rows, rng.permutation(n)].mean() for _ in range(permutations))]
    return permutation_p(np.array(matched))


def permutation_p(draws: Array, alternative: Alternative = "greater") -> float:
    """p = (1 + #{permuted at least as extreme}) / (1 + P), from the observed value and its permutations, (1 + P,).

    A permutation without a value counts as extreme: p is never made smaller by what is not known.
    """
    if not np.isfinite(draws[0]):
        return float("nan")
    values = np.abs(draws) if alternative == "two-sided" else draws
    slack = _TIE * max(1e-300, float(np.abs(draws[np.isfinite(draws)]).max()))
    extreme = (values[1:] >= values[0] - slack) | ~np.isfinite(values[1:])
    return float((1 + extreme.sum()) / len(draws))


def holm(p: Sequence[float] | Array) -> Array:
    """Holm's adjusted p-values, which keep the chance of any false claim among m tests at the level.

    Sorted p₍₁₎ ≤ … ≤ p₍ₘ₎ become max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎); NaN (no test) stays and does not count.

    Args:
        p: (m,) in [0, 1].

    Raises:
        NumericsError: a value is no probability.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    values = np.asarray(p, dtype=float)
    tested = np.isfinite(values)
    if ((values[tested] < 0) | (values[tested] > 1)).any():
        raise NumericsError(f"holm: got {values[tested].tolist()}, expected probabilities in [0, 1].")
    order = np.flatnonzero(tested)[np.argsort(values[tested], kind="stable")]
    adjusted = np.full(len(values), np.nan)
    scaled = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return adjusted
