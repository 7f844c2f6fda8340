"""The headline is a chosen maximum: its intervals hold for all that it was chosen among."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tangency.evaluate.verdicts import Recipe, SweepRows, verdicts
from tangency.statistics import crossed_mean
from tangency.study.spec import StudySpec
from tangency.study.summary.headline import headline
from tangency.study.summary.sweep import Sweep
from tangency.study.summary.sweep_entries import HeadlineEntry
from verdict_support import CLOSED, TRAINED

STRENGTHS, SEEDS, IMAGES, LEVEL = 6, 5, 60, 0.2
SPEC = cast("StudySpec", SimpleNamespace(tangents=(), score=SimpleNamespace(kind="mfa")))


def equal_strengths(rng: np.random.Generator, directions: Sequence[str] = (CLOSED, TRAINED)) -> SweepRows:
    """A standard recipe and six strengths of the same L in truth: networks and images are drawn anew."""
    images = 0.01 * rng.normal(size=IMAGES)

    def network() -> dict[str, np.ndarray]:
        made = {"accuracy": np.ones(IMAGES)}
        for key in directions:
            made[key] = LEVEL + images + 0.02 * rng.normal() + 0.02 * rng.normal(size=IMAGES)
            made[f"{key}.shuffled"] = np.zeros(IMAGES)
        return made

    def recipe(name: str, objective: str, strength: float) -> Recipe:
        return Recipe(name, objective, strength, {seed: network() for seed in range(SEEDS)})

    strengths = [recipe(f"pgd-{t}", "pgd", float(t)) for t in range(1, STRENGTHS + 1)]
    return SweepRows([recipe("standard", "standard", 0.0), *strengths], constant=0.1, dimension=64)


def chosen(rows: SweepRows) -> tuple[HeadlineEntry, Any]:
    """The headline, and L of the same recipe and direction at the level of one interval alone."""
    judged = verdicts(rows)
    trials = {recipe.name: [SimpleNamespace(id=recipe.name)] for recipe in rows.recipes}
    entry = headline(Sweep(rows, cast("Any", trials), {}), judged, {}, SPEC)
    assert entry is not None
    return entry, judged.recipes[entry.recipe].aligned[entry.direction].alignment


def test_its_intervals_are_of_a_level_corrected_for_recipes_and_directions() -> None:
    rows = equal_strengths(np.random.default_rng(0))
    entry, plain = chosen(rows)
    assert entry.among == 2 * STRENGTHS
    recipe = next(each for each in rows.recipes if each.name == entry.recipe)
    key = CLOSED if entry.direction == "bayes_gradient" else TRAINED
    expected = crossed_mean(recipe.values(key), 1 - 0.05 / (2 * STRENGTHS))
    assert (entry.alignment.low, entry.alignment.high) == pytest.approx((expected.low, expected.high))
    assert entry.alignment.mean == plain.mean
    assert entry.alignment.low < plain.low < plain.high < entry.alignment.high
    assert entry.over_standard is not None
    assert rows.standard is not None
    over = crossed_mean(recipe.values(key) - rows.standard.values(key), 1 - 0.05 / (2 * STRENGTHS))
    assert (entry.over_standard.low, entry.over_standard.high) == pytest.approx((over.low, over.high))


@pytest.mark.slow
@pytest.mark.parametrize("directions", [(CLOSED,), (CLOSED, TRAINED)])
def test_the_interval_of_the_best_of_equal_strengths_holds_the_truth(directions: tuple[str, ...]) -> None:
    """In at least 93 % of 400 sweeps; without the correction in fewer, under one direction.

    Of two directions the headline takes the one that shows less, which makes up for the choice of the recipe.
    """
    rng = np.random.default_rng(1)
    pairs = [chosen(equal_strengths(rng, directions)) for _ in range(400)]
    covered = np.mean([[e.low <= LEVEL <= e.high for e in (entry.alignment, plain)] for entry, plain in pairs], axis=0)
    rises = [entry.over_standard for entry, _ in pairs]
    assert covered[0] >= 0.93
    assert covered[0] > covered[1]
    assert len(directions) > 1 or covered[1] < 0.93
    assert np.mean([each is not None and each.low <= 0 <= each.high for each in rises]) >= 0.93
