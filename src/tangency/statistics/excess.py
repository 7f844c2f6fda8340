"""A measure minus its best control: what the gradient knows that no trivial signal does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.bootstrap import Array, Estimate, PairedBootstrap


@dataclass(frozen=True)
class Excess:
    """Paired difference between a measure and the best of its controls.

    Args:
        draws: (1 + B,) of mean − best control's mean; the best is chosen anew in each resample.
        estimate: its interval.
        best: name of the best control on the images themselves.
        controls: interval of (measure − control) for each control.
    """

    draws: Array
    estimate: Estimate
    best: str
    controls: dict[str, Estimate]


def excess_over_best(boot: PairedBootstrap, values: Array, controls: dict[str, Array]) -> Excess:
    """Mean of `values` minus the largest mean among `controls`, paired over images, arrays (N,).

    Taking the best control anew in each resample keeps the choice of the control inside the interval.
    """
    if not controls:
        raise NumericsError("excess: got no controls, expected at least one.")
    stacked = np.stack([values, *controls.values()])
    usable = np.all(np.isfinite(stacked), axis=0)
    stacked = np.where(usable, stacked, np.nan)
    draws = boot.mean(stacked)
    differences = draws[:1] - draws[1:]
    least = differences.min(0)
    n = int(usable.sum())
    names = list(controls)
    best = names[int(np.argmin(differences[:, 0]))] if n else names[0]
    each = {name: Estimate.of(row, n, len(usable) - n) for name, row in zip(names, differences, strict=True)}
    return Excess(least, Estimate.of(least, n, len(usable) - n), best, each)
