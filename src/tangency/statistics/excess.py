"""A measure minus its best control: what the gradient knows beyond every trivial signal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.bootstrap import Estimate, PairedBootstrap
from tangency.statistics.intervals import Interval
from tangency.statistics.pooled import Contrast
from tangency.statistics.resamples import Array

K = TypeVar("K")
Controlled = tuple[Array, Mapping[str, Array]]  # values (N,) of a measure, and those of its controls by name


@dataclass(frozen=True)
class Excess:
    """Paired difference between a measure and the best of its controls.

    Args:
        draws: (1 + B,) of mean − best control's mean; the best is chosen anew in each resample.
        estimate: its interval: the least of the lows and the least of the highs of `controls`. So it lies above zero
            only where the measure beats every control, and below only where some control beats it.
        best: name of the best control on the images themselves.
        controls: interval of (measure − control) for each control.
    """

    draws: Array
    estimate: Estimate
    best: str
    controls: dict[str, Estimate]


def excess_over_best(boot: PairedBootstrap, values: Array, controls: Mapping[str, Array]) -> Excess:
    """Mean of `values` minus the largest mean among `controls`, paired over images, arrays (N,).

    Percentiles of the resampled difference to the best control are biased: where m controls tie, the largest of m noisy
    means lies above their common mean, more so in resamples, and with m = 4 such an interval lies below a true zero in
    18 % of samples. The intersection-union interval does so in 9 % (ties of independent controls are its worst case),
    and lies above zero in 0.2 %. A control without any value (no class has a second image) is left out.
    """
    return excesses_over_best(boot, {"": (values, controls)})[""]


def excesses_over_best(
    boot: PairedBootstrap, measures: Mapping[K, Controlled], interval: Interval = "percentile"
) -> dict[K, Excess]:
    """`excess_over_best` of several measures, in one pass over the images."""
    contrasts = {key: contrasts_of(values, controls) for key, (values, controls) in measures.items()}
    draws = iter(boot.evaluate([contrast for named in contrasts.values() for contrast in named.values()]))
    return {key: _excess(np.stack([next(draws) for _ in named]), named, interval) for key, named in contrasts.items()}


def contrasts_of(values: Array, controls: Mapping[str, Array]) -> dict[str, Contrast]:
    """The measure minus each control that has a value at all, over the images that have all of them."""
    if not controls:
        raise NumericsError("excess: got no controls, expected at least one.")
    names = [name for name, control in controls.items() if np.isfinite(control).any()] or list(controls)
    kept = tuple(controls[name] for name in names)
    return {name: Contrast(values, controls[name], kept) for name in names}


def _excess(differences: Array, contrasts: Mapping[str, Contrast], interval: Interval) -> Excess:
    usable = next(iter(contrasts.values())).usable()
    n, least = int(usable.sum()), differences.min(0)
    names = list(contrasts)
    best = names[int(np.argmin(differences[:, 0]))] if n else names[0]
    each = {
        name: Estimate.of(
            row, n, len(usable) - n, leave_one_out=contrast.leave_one_out() if interval == "bca" else None
        )
        for (name, contrast), row in zip(contrasts.items(), differences, strict=True)
    }
    mean = Estimate.of(least, n, len(usable) - n)
    low, high = min(e.low for e in each.values()), min(e.high for e in each.values())
    return Excess(least, dataclasses.replace(mean, low=low, high=high), best, each)
