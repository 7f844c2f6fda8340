"""How sure and how large the excess of a measure over its controls is: p-values by permutation, and effect sizes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from tangency.evaluate.entries import ControlEntry, ExcessEntry
from tangency.evaluate.numbers import Columns, controlled
from tangency.statistics import Excess, SignFlips, cohens_dz, flip_p, null_sd_units
from tangency.statistics.excess import Controlled, contrasts_of

SHUFFLED = "shuffled"
PERMUTATIONS = 9999
SHOWN = 0.05  # Holm-adjusted p up to which a difference is said to be shown


def excess_entries(
    excesses: Mapping[str, Excess], columns: Columns, permutations: int = PERMUTATIONS
) -> dict[str, ExcessEntry]:
    """Excesses over controls with p-values and effect sizes; excesses without headline controls in `columns` have none.

    p is one-sided, by flipping the sign of (measure − control) image by image, p = (1 + #{flipped ≥ observed})/(1 + P):
    exact for the shuffled controls, which are exchangeable with the measure where the gradient knows nothing of its
    image; a test of the mean for others. Against several controls it is the largest of theirs (intersection-union):
    small only where the measure beats each. `dz` is Cohen's, against the control whose dz is least; `null_sd` the
    difference from the shuffled control in its standard deviations, NaN without one.

    Args:
        excesses: measure to its excess.
        columns: measure key to (N,) values.
        permutations: P.
    """
    measures = controlled(columns)
    effects = _effects(measures, permutations)
    return {key: _entry(excess, effects.get(key, {}), measures.get(key)) for key, excess in excesses.items()}


def _effects(measures: Mapping[str, Controlled], permutations: int) -> dict[str, dict[str, tuple[float, float]]]:
    """For each measure p and Cohen's dz against each of its controls."""
    if not measures:
        return {}
    contrasts = {key: contrasts_of(values, controls) for key, (values, controls) in measures.items()}
    flips = SignFlips(len(next(iter(measures.values()))[0]), permutations)
    p = iter(flip_p(flips, [contrast for named in contrasts.values() for contrast in named.values()]))
    effects = {}
    for key, named in contrasts.items():
        usable = next(iter(named.values())).usable()
        effects[key] = {
            name: (float(next(p)), cohens_dz(np.where(usable, c.values - c.control, np.nan)))
            for name, c in named.items()
        }
    return effects


def _entry(excess: Excess, effects: Mapping[str, tuple[float, float]], measure: Controlled | None) -> ExcessEntry:
    pairs = {name: effects.get(name, (None, None)) for name in excess.controls}
    controls = {name: ControlEntry.of(excess.controls[name], p=p, dz=dz) for name, (p, dz) in pairs.items()}
    entry = ExcessEntry.of(excess.estimate, best_control=excess.best, controls=controls)
    if measure is None:
        return entry
    values, own = measure
    return dataclasses.replace(
        entry,
        p=max(p for p, _ in effects.values()),
        dz=min(dz for _, dz in effects.values()),
        null_sd=null_sd_units(values, own[SHUFFLED]) if SHUFFLED in own else math.nan,
    )
