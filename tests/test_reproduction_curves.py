"""R² of one curve for all objectives, as docs/reproduction.md says it, anew from the rows by plain arithmetic."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from reproduction_support import DIRECTIONS, ROWS, Sweep, Values, by_network

CURVES = json.loads((ROWS.parent / "curves.json").read_text(encoding="utf-8"))
FITS = {"radius": ("radius", False), "κ": ("ln κ", False), "radius beyond accuracy": ("radius", True)}
FITS |= {"κ beyond accuracy": ("ln κ", True)}

CHANCE = 0.1  # of ten classes


def cells(parts: list[str], direction: str) -> dict[str, Values]:
    """Numbers of every network, (S, recipes); the standard networks of the first part alone."""
    column, made = DIRECTIONS[direction], []
    for place, part in enumerate(parts):
        sweep = Sweep(part)
        names = [own["id"] for own in sweep.about["recipes"] if not own["id"].startswith("filtered")]
        learnt = by_network(sweep, "accuracy").mean(0) > 2 * CHANCE  # recipes that collapsed are on no curve
        kept = [n for n, name in enumerate(names) if learnt[n] and (place == 0 or name != "standard-0")]
        own = {name: by_network(sweep, name)[:, kept] for name in ("radius", "ln κ", "accuracy")}
        level = by_network(sweep, column) - by_network(sweep, f"{column}.shuffled")
        made.append(own | {"L": level[:, kept]})
    return {name: np.concatenate([own[name] for own in made], axis=1) for name in made[0]}


def squares(design: Values, y: Values) -> float:
    """Of the residuals."""
    left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float((left**2).sum())


def explained(numbers: dict[str, Values], of: str, beyond: bool, seeds: list[int]) -> tuple[float, float]:
    """R² of a cubic, and of each recipe by a fit to the others, which is solved anew."""
    means = {name: own[seeds].mean(0) for name, own in numbers.items()}
    x = np.log(means["radius"]) if of == "radius" else means[of]
    x = (x - x.mean()) / x.std()
    y, ones = means["L"], np.ones((len(x), 1))
    reduced = np.hstack([ones, means["accuracy"][:, None]]) if beyond else ones
    full = np.hstack([reduced, *(x[:, None] ** power for power in (1, 2, 3))])

    def left_out(design: Values) -> float:
        errors = []
        for out in range(len(y)):
            rest = [number for number in range(len(y)) if number != out]
            errors.append(y[out] - design[out] @ np.linalg.lstsq(design[rest], y[rest], rcond=None)[0])
        return float((np.array(errors) ** 2).sum())

    total = left_out(reduced) if beyond else squares(reduced, y)
    return 1 - squares(full, y) / squares(reduced, y), 1 - left_out(full) / total


@pytest.mark.parametrize("row", CURVES, ids=lambda row: f"{row['part']}, {row['direction']}")
def test_every_curve_by_plain_arithmetic(row: dict[str, Any]) -> None:
    numbers = cells(row["part"].split(" and "), row["direction"])
    seeds = list(range(len(numbers["L"])))
    assert (row["cells"], row["networks"]) == (numbers["L"].shape[1], len(seeds))
    for words, (of, beyond) in FITS.items():
        whole, out = explained(numbers, of, beyond, seeds)
        without = [explained(numbers, of, beyond, [s for s in seeds if s != left])[0] for left in seeds]
        half = student.ppf(0.975, len(seeds) - 1) * math.sqrt((len(seeds) - 1) * np.log(1 - np.array(without)).var())
        ends = [1 - (1 - whole) * math.exp(sign * half) for sign in (1, -1)]
        assert list(row[words].values()) == pytest.approx([whole, *ends, out], rel=1e-6)


def test_there_are_curves_under_both_directions() -> None:
    assert {row["direction"] for row in CURVES} == set(DIRECTIONS)
    assert all(len(row["objectives"]) >= 3 for row in CURVES)
