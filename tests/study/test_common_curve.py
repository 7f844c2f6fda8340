"""One curve for all objectives: R² against the plain way, on cells whose truth is known, and its interval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tangency.evaluate.verdicts import Recipe, SweepRows
from tangency.study.summary.common_curve import common_curves
from tangency.study.summary.sweep_entries import CommonCurveEntry
from verdict_support import CLOSED, DIMENSION, FRACTION, RANK

IMAGES, STRENGTHS, SEEDS = 40, 4, 5
Law = Callable[[float, float, float], float]  # log radius, F², accuracy to L


def rows(law: Law, seed: int = 0, spread: float = 0.0, cells: float = 0.0, seeds: int = SEEDS) -> SweepRows:
    """The standard recipe and two objectives; radius, F² and accuracy vary freely, L follows the law and noise."""
    rng, recipes = np.random.default_rng(seed), []
    names = ["standard-0", *(f"{o}-{t}" for o in ("pgd", "noise") for t in range(1, 1 + STRENGTHS))]
    for name in names:
        radius, fraction = float(rng.uniform(0.1, 1.0)), float(rng.uniform(0.1, 0.5))
        accuracy = round(float(rng.uniform(0.6, 0.95)) * IMAGES) / IMAGES
        level = law(np.log(radius), fraction, accuracy) + cells * rng.normal()
        networks = {}
        for s in range(seeds):
            ones = np.ones(IMAGES)
            networks[s] = {
                "accuracy": (np.arange(IMAGES) < accuracy * IMAGES).astype(float),
                "radius": radius * ones,
                FRACTION: fraction * ones,
                "tangent_rank": RANK * ones,
                CLOSED: (level + 0.1 + spread * rng.normal()) * ones,
                f"{CLOSED}.shuffled": 0.1 * ones,
            }
        objective, _, strength = name.partition("-")
        recipes.append(Recipe(name, objective, float(strength), networks))
    return SweepRows(recipes, constant=0.1, dimension=DIMENSION)


def curve(made: SweepRows) -> CommonCurveEntry:
    (entry,) = common_curves(made)
    return entry


def log_kappa(fraction: float) -> float:
    return np.log((1 - fraction) / (DIMENSION - RANK) / (fraction / RANK))


def plain_r2(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    total = ((y - y.mean()) ** 2).sum()
    inside = y - np.polyval(np.polyfit(x, y, 3), x)
    left_out = []
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        left_out.append(y[i] - np.polyval(np.polyfit(x[others], y[others], 3), x[i]))
    return 1 - (inside**2).sum() / total, 1 - (np.square(left_out)).sum() / total


def test_r2_is_that_of_a_plain_fit_to_the_means_of_networks() -> None:
    made = rows(lambda r, f, a: 0.2 + 0.05 * r + 0.1 * f, spread=0.01)
    entry = curve(made)
    level = np.array([np.mean([n[CLOSED][0] - 0.1 for n in r.networks.values()]) for r in made.recipes])
    radius = np.array([np.log(r.networks[0]["radius"][0]) for r in made.recipes])
    kappa = np.array([log_kappa(r.networks[0][FRACTION][0]) for r in made.recipes])
    assert (entry.r2, entry.r2_out) == pytest.approx(plain_r2(radius, level))
    assert entry.kappa is not None
    assert (entry.kappa.r2, entry.kappa.r2_out) == pytest.approx(plain_r2(kappa, level))
    assert (entry.cells, entry.networks, entry.objectives) == (9, SEEDS, ["noise", "pgd", "standard"])
    assert entry.low < entry.r2 < entry.high <= 1  # type: ignore[operator]


def test_what_l_follows_is_what_explains_it() -> None:
    radius = curve(rows(lambda r, f, a: 0.2 + 0.05 * r - 0.01 * r**3))
    assert radius.r2 == pytest.approx(1)
    assert radius.beyond_accuracy is not None
    assert radius.beyond_accuracy.r2 == pytest.approx(1)
    assert radius.kappa is not None
    assert radius.kappa.r2 < 0.9  # type: ignore[operator]
    kappa = curve(rows(lambda r, f, a: 0.2 - 0.02 * log_kappa(f)))
    assert kappa.kappa is not None
    assert kappa.kappa.r2 == pytest.approx(1)
    assert kappa.kappa_beyond_accuracy is not None
    assert kappa.kappa_beyond_accuracy.r2 == pytest.approx(1)
    assert kappa.r2 < 0.9  # type: ignore[operator]


def test_beyond_accuracy_nothing_is_left_of_a_law_of_accuracy() -> None:
    """A cell of the radius is followed only as far as chance allows: cells predicted by it are no better."""
    out = [curve(rows(lambda r, f, a: 0.5 * a, seed, spread=0.003)).beyond_accuracy for seed in range(12)]
    assert np.median([entry.r2_out for entry in out if entry]) < 0.1
    both = curve(rows(lambda r, f, a: 0.5 * a + 0.05 * r))
    assert both.beyond_accuracy is not None
    assert both.beyond_accuracy.r2 == pytest.approx(1)
    assert both.r2 < 0.95  # type: ignore[operator]  # accuracy is a nuisance of the plain curve


def test_the_interval_holds_the_r2_of_the_true_means() -> None:
    def law(r: float, f: float, a: float) -> float:
        return 0.2 + 0.05 * r

    inside = 0
    for seed in range(100):
        truth = curve(rows(law, seed, spread=0.0, cells=0.02)).r2
        entry = curve(rows_with_noise(law, seed))
        inside += entry.low <= truth <= entry.high  # type: ignore[operator]
    assert inside / 100 >= 0.9


def rows_with_noise(law: Law, seed: int) -> SweepRows:
    """The cells of `rows` with that seed, and noise of networks on top."""
    made, rng = rows(law, seed, spread=0.0, cells=0.02), np.random.default_rng([seed, 1])
    for recipe in made.recipes:
        for network in recipe.networks.values():
            network[CLOSED] = network[CLOSED] + 0.01 * rng.normal()  # type: ignore[index]
    return made


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_networks_have_no_interval_and_few_cells_no_curve(seeds: int) -> None:
    entry = curve(rows(lambda r, f, a: 0.2 + 0.05 * r, spread=0.01, seeds=seeds))
    assert entry.r2 is not None
    assert (entry.low, entry.high) == (None, None)
    made = rows(lambda r, f, a: 0.2 + 0.05 * r)
    few = curve(SweepRows(made.recipes[:6], constant=0.1, dimension=DIMENSION))
    assert few.r2 is not None
    assert few.beyond_accuracy is not None
    assert few.beyond_accuracy.r2 is None  # six cells, five coefficients
    one = curve(SweepRows(made.recipes[:5], constant=0.1, dimension=DIMENSION))
    assert (one.r2, one.kappa, one.cells) == (None, None, 5)
