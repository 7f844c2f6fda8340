"""How sure and how large the excess of a measure over its controls is: p-values by permutation, and effect sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tangency.evaluate.numbers import Columns, controlled, plain_number
from tangency.statistics import SignFlips, cohens_dz, flip_p, null_sd_units
from tangency.statistics.excess import contrasts_of

SHUFFLED = "shuffled"
PERMUTATIONS = 9999


def significances(columns: Columns, permutations: int = PERMUTATIONS) -> dict[str, dict[str, Any]]:
    """For each measure that has controls: p, effect sizes, and p against each control.

    p is one-sided, by flipping the sign of (measure − control) image by image, p = (1 + #{flipped ≥ observed})/(1 + P):
    exact for the shuffled controls, which are exchangeable with the measure where the gradient knows nothing of its
    image; a test of the mean for others. Against several controls it is the largest of theirs (intersection-union):
    small only where the measure beats each.

    Args:
        columns: measure key to (N,) values.
        permutations: P.

    Returns:
        {measure: {"p", "dz" (Cohen's, against the control whose dz is least), "null_sd" (difference from the shuffled
        control in its standard deviations, None without one), "controls": {control: {"p", "dz"}}}}.
    """
    measures = controlled(columns)
    if not measures:
        return {}
    contrasts = {key: contrasts_of(values, controls) for key, (values, controls) in measures.items()}
    flips = SignFlips(len(next(iter(columns.values()))), permutations)
    p = iter(flip_p(flips, [contrast for named in contrasts.values() for contrast in named.values()]))
    results = {}
    for key, named in contrasts.items():
        values, controls = measures[key]
        usable = next(iter(named.values())).usable()
        by_control = {
            name: (next(p), cohens_dz(np.where(usable, c.values - c.control, np.nan))) for name, c in named.items()
        }
        null = null_sd_units(values, controls[SHUFFLED]) if SHUFFLED in controls else float("nan")
        results[key] = {
            "p": plain_number(max(each for each, _ in by_control.values())),
            "dz": plain_number(min(dz for _, dz in by_control.values())),
            "null_sd": plain_number(null),
            "controls": {n: {"p": plain_number(one), "dz": plain_number(dz)} for n, (one, dz) in by_control.items()},
        }
    return results


def add_significance(entry: dict[str, Any], columns: Columns) -> None:
    """Put p and effect sizes into the "excess" of a trial's or a model's entry, and into its "controls"."""
    for key, numbers in significances(columns).items():
        if key not in entry["excess"]:
            continue
        controls = entry["excess"][key].get("controls", {})
        for name, each in numbers.pop("controls").items():
            controls.get(name, {}).update(each)
        entry["excess"][key] |= numbers
