"""The former rule of the three regimes, `rule: kappa`: on κ/κ₀ and R_on/R_on(0), with printed thresholds.

It fails where the truth is known: it calls the exact Bayes rule of a fitted mixture excessive, and logits × .03 change
its labels. `regimes.py` holds the rule that replaces it.

The paper draws its regimes by eye. Here each trial is judged against strength 0 of the same seed, with simultaneous
bands, on pooled κ, accuracy and the on-manifold change R_on:

- weak: κ/κ₀ not shown to be ≤ ½, accuracy non-inferior;
- Bayes-aligned: upper bound of κ/κ₀ ≤ ½, upper bound of κ < 1, accuracy non-inferior, R_on ≥ ½ R_on(0);
- excessive: accuracy inferior, or upper bound of R_on < ½ R_on(0);
- undetermined otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.resamples import Array

KappaRegime = Literal["weak", "bayes_aligned", "excessive", "undetermined"]


@dataclass(frozen=True)
class KappaThresholds:
    """Printed with every label; the sensitivity to `accuracy_margin` is reported at .02, .05 and .10."""

    kappa_ratio: float = 0.5
    kappa: float = 1.0
    accuracy_margin: float = 0.05
    change_on_ratio: float = 0.5


@dataclass(frozen=True)
class KappaCriteria:
    """Draws (1 + B,) of one trial and of strength 0 of the same seed, from one paired bootstrap."""

    kappa: Array
    accuracy: Array
    change_on: Array
    kappa_baseline: Array
    accuracy_baseline: Array
    change_on_baseline: Array

    def contrasts(self) -> Array:
        """ln κ/κ₀, ln κ, accuracy difference, ln R_on/R_on(0): (4, 1 + B)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack(
                [
                    np.log(self.kappa / self.kappa_baseline),
                    np.log(self.kappa),
                    self.accuracy - self.accuracy_baseline,
                    np.log(self.change_on / self.change_on_baseline),
                ]
            )


@dataclass(frozen=True)
class KappaVerdict:
    """The regime of a trial, with the simultaneous band (low, high) of each contrast."""

    regime: KappaRegime
    kappa_ratio: tuple[float, float]
    accuracy_difference: tuple[float, float]
    change_on_ratio: tuple[float, float]


def simultaneous_bands(draws: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Bands that hold for all statistics at once, by the bootstrap of max |t|: (M, 1 + B) to two (M,).

    A statistic without spread (a trial against itself, or the logarithm of what is zero in every resample) has a band
    of width zero and does not widen the others; any other that is not finite has the band (−∞, ∞).
    """
    if draws.shape[1] < 3:
        raise NumericsError(f"bands: got {draws.shape[1] - 1} replicates, expected at least 2.")
    estimate, replicates = draws[:, 0], draws[:, 1:]
    finite = np.all(np.isfinite(draws), axis=1)
    spread = np.where(finite, np.where(finite[:, None], replicates, 0).std(1, ddof=1), np.nan)
    moving = finite & (spread > 0)
    if moving.any():
        t = np.abs(replicates[moving] - estimate[moving, None]) / spread[moving, None]
        factor = float(np.quantile(t.max(0), level))
    else:
        factor = 0.0
    settled = np.all(draws == estimate[:, None], axis=1)
    half = np.where(finite & ~settled, factor * spread, np.where(settled, 0.0, np.inf))
    centre = np.where(finite | settled, estimate, 0.0)
    return centre - half, centre + half


def classify_by_kappa(
    trials: dict[str, KappaCriteria], thresholds: KappaThresholds | None = None
) -> dict[str, KappaVerdict]:
    """Label every trial of a sweep, with bands simultaneous over trials and criteria."""
    thresholds = thresholds or KappaThresholds()
    if not trials:
        return {}
    contrasts = np.concatenate([criteria.contrasts() for criteria in trials.values()])
    low, high = (side.reshape(-1, 4) for side in simultaneous_bands(contrasts))
    estimates = contrasts[:, 0].reshape(-1, 4)
    return {name: kappa_verdict(estimates[i], low[i], high[i], thresholds) for i, name in enumerate(trials)}


def kappa_verdict(estimate: Array, low: Array, high: Array, thresholds: KappaThresholds) -> KappaVerdict:
    """The label of four contrasts, as `KappaCriteria.contrasts` has them, (4,), with the ends of their bands."""
    steeper = high[0] <= np.log(thresholds.kappa_ratio)
    aligned = steeper and high[1] < np.log(thresholds.kappa) and estimate[3] >= np.log(thresholds.change_on_ratio)
    non_inferior = low[2] > -thresholds.accuracy_margin
    inferior = high[2] < -thresholds.accuracy_margin
    muted = high[3] < np.log(thresholds.change_on_ratio)
    regime: KappaRegime = "undetermined"
    if inferior or muted:
        regime = "excessive"
    elif non_inferior and not steeper and np.isfinite(high[0]):
        regime = "weak"
    elif non_inferior and aligned:
        regime = "bayes_aligned"
    return KappaVerdict(
        regime,
        (float(np.exp(low[0])), float(np.exp(high[0]))),
        (float(low[2]), float(high[2])),
        (float(np.exp(low[3])), float(np.exp(high[3]))),
    )
