"""`rule: kappa` over several seeds: its intervals are of recipes, networks crossed with images."""

from __future__ import annotations

import numpy as np
import pytest

from tangency.evaluate.numbers import Columns
from tangency.statistics import KappaCriteria, PairedBootstrap, crossed_difference, crossed_mean
from tangency.statistics.kappa_rule import simultaneous_bands
from tangency.study.summary.kappa import judge_recipes

CHANGE, D, K, N = "change_on.eps=2", 64, 8, 150


def network(draw: np.random.Generator, fraction: float, accuracy: float, change: float, images: np.ndarray) -> Columns:
    """Rows of one network; harder images (N,) are harder for all."""
    share = np.clip(fraction + 0.05 * images + 0.05 * draw.normal(size=N), 0.01, 0.99)
    return {
        "tangent_fraction.margin": share,
        "tangent_rank": np.full(N, float(K)),
        "accuracy": (draw.random(N) < np.clip(accuracy + 0.1 * images, 0, 1)).astype(float),
        CHANGE: change * draw.gamma(4, 0.25, N),
    }


def pairs(draw: np.random.Generator, seeds: int, own: tuple[float, ...], spread: float = 0.0) -> list:
    images, made = draw.normal(size=N), []
    for _ in range(seeds):
        fraction, accuracy, change = own
        moved = (fraction, accuracy + spread * draw.normal(), change)
        made.append((network(draw, *moved, images), network(draw, 0.12, 0.8, 0.16, images)))
    return made


def test_the_intervals_are_those_of_crossed_contrasts() -> None:
    made = pairs(np.random.default_rng(0), 3, (0.3, 0.78, 0.13), 0.05)
    verdict = judge_recipes({"a": made}, CHANGE, D)[0]["a"]
    accuracy = [np.stack([pair[side]["accuracy"] for pair in made]) for side in (0, 1)]
    expected = crossed_difference(*accuracy)
    assert verdict.accuracy_difference == pytest.approx((expected.low, expected.high))
    # ln of ratios of means by hand, influence by the delta method
    on, on0 = (np.stack([pair[side][CHANGE] for pair in made]) for side in (0, 1))
    logs = on / on.mean(1, keepdims=True) - on0 / on0.mean(1, keepdims=True)
    ratio = crossed_mean(logs + np.log(on.mean(1) / on0.mean(1))[:, None])
    assert verdict.change_on_ratio == pytest.approx((np.exp(ratio.low), np.exp(ratio.high)))


def test_a_recipe_far_from_the_standard_one_is_labelled_and_one_alike_is_weak() -> None:
    draw = np.random.default_rng(1)
    made = {
        "aligned": pairs(draw, 5, (0.4, 0.8, 0.14)),
        "muted": pairs(draw, 5, (0.5, 0.8, 0.03)),
        "poor": pairs(draw, 5, (0.5, 0.4, 0.14)),
    }
    made["itself"] = [(baseline, baseline) for _, baseline in made["aligned"]]
    verdicts, sensitivity = judge_recipes(made, CHANGE, D)
    assert verdicts["itself"].kappa_ratio == (1.0, 1.0)
    labels = {name: verdict.regime for name, verdict in verdicts.items()}
    assert labels["muted"] == labels["poor"] == "excessive"
    assert labels["itself"] == "weak"
    assert sensitivity["aligned"]["0.1"] == "bayes_aligned"


def test_what_cannot_be_told_is_undetermined() -> None:
    """κ = ∞ of one network: its ratio has no interval."""
    made = pairs(np.random.default_rng(2), 3, (0.4, 0.8, 0.14))
    made[1][0]["tangent_fraction.margin"][:] = 0.0
    verdict = judge_recipes({"a": made}, CHANGE, D)[0]["a"]
    assert verdict.kappa_ratio == (0.0, np.inf)
    assert verdict.regime == "undetermined"


def test_networks_that_differ_widen_the_interval_as_bands_over_images_do_not() -> None:
    """The true difference is 0, networks have an sd of .06: coverage of crossed intervals and of the former bands."""
    draw, held, former, studies = np.random.default_rng(3), 0, 0, 150
    for _ in range(studies):
        made = pairs(draw, 4, (0.12, 0.8, 0.16), 0.06)
        low, high = judge_recipes({"a": made}, CHANGE, D)[0]["a"].accuracy_difference
        held += low <= 0 <= high
        boot = PairedBootstrap(N, 100)
        draws = [[boot.mean(rows["accuracy"]) for rows in pair] for pair in made]
        of_seeds = [np.mean([each[side] for each in draws], axis=0) for side in (0, 1)]
        one = np.ones_like(of_seeds[0])
        contrasts = KappaCriteria(one, of_seeds[0], one, one, of_seeds[1], one).contrasts()[2:3]
        below, above = simultaneous_bands(contrasts)
        former += bool(below[0] <= 0 <= above[0])
    assert held / studies > 0.92, held
    assert former / studies < 0.85, former
