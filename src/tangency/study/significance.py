"""How sure and how large the excess of a measure over its controls is: p-values by permutation, effect sizes, Holm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tangency.statistics import SignFlips, cohens_dz, flip_p, holm, null_sd_units
from tangency.statistics.excess import contrasts_of
from tangency.study.assemble import Columns
from tangency.study.numbers import controlled, plain_number

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
        control in its standard deviations, None without one), "p_controls": {control: p}}}.
    """
    measures = controlled(columns)
    if not measures:
        return {}
    contrasts = {key: contrasts_of(values, controls) for key, (values, controls) in measures.items()}
    flips = SignFlips(len(next(iter(columns.values()))), permutations)
    p = iter(flip_p(flips, [contrast for named in contrasts.values() for contrast in named.values()]))
    found = {}
    for key, named in contrasts.items():
        by_control = {name: next(p) for name in named}
        values, controls = measures[key]
        usable = next(iter(named.values())).usable()
        differences = [np.where(usable, c.values - c.control, np.nan) for c in named.values()]
        null = null_sd_units(values, controls[SHUFFLED]) if SHUFFLED in controls else float("nan")
        found[key] = {
            "p": plain_number(max(by_control.values())),
            "dz": plain_number(min(map(cohens_dz, differences))),
            "null_sd": plain_number(null),
            "p_controls": {name: plain_number(value) for name, value in by_control.items()},
        }
    return found


def add_significance(entry: dict[str, Any], columns: Columns) -> None:
    """Put p and effect sizes into the "excess" of a trial's or a model's entry."""
    for key, found in significances(columns).items():
        if key in entry["excess"]:
            entry["excess"][key] |= found


def add_holm(entries: Iterable[dict[str, Any]]) -> None:
    """Put "p_holm" into every excess: p adjusted over the entries, measure by measure."""
    held = list(entries)
    for key in dict.fromkeys(key for entry in held for key in entry["excess"]):
        having = [entry["excess"][key] for entry in held if key in entry["excess"]]
        raw = [float("nan") if (p := each.get("p")) is None else p for each in having]
        for each, adjusted in zip(having, holm(raw), strict=True):
            each["p_holm"] = plain_number(float(adjusted))
