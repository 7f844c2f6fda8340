"""Strengths by interpolation, and what counts as matched."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cause_support import Truth, arm_recipes
from tangency.cause.match import (
    CalibrationPoint,
    calibration_point,
    chosen_strengths,
    match,
    matching_strength,
    misses,
    strongest_strength,
)
from tangency.cause.spec import MatchSpec


def point(arm: str, strength: float, radius: float | None, accuracy: float = 0.9) -> CalibrationPoint:
    return CalibrationPoint(arm=arm, strength=strength, radius=radius, accuracy=accuracy, stage="calibration")


def test_a_power_law_is_met_exactly_within_and_beyond_its_strengths() -> None:
    strengths = [0.1, 0.3, 1.0, 3.0]
    radius = [2 * s**0.4 for s in strengths]
    for wanted in (0.05, 0.1, 0.2, 1.7, 3.0, 20.0):
        assert matching_strength(strengths, radius, 2 * wanted**0.4) == pytest.approx(wanted, rel=1e-5)
    assert matching_strength(strengths[::-1], radius[::-1], 2 * 0.2**0.4) == pytest.approx(0.2)  # in any order


def test_extrapolation_ends_and_a_penalty_that_does_not_act_stays() -> None:
    assert matching_strength([0.1, 1.0], [1.0, 1.1], 100.0) == pytest.approx(10.0)  # ten times the largest
    assert matching_strength([0.1, 1.0], [1.0, 1.0], 2.0) == pytest.approx(0.1)
    assert matching_strength([0.1, 1.0], [1.0, 0.9], 2.0) == pytest.approx(0.1)  # falls: no line leads there
    assert matching_strength([0.5], [1.0], 2.0) == 0.5
    assert matching_strength([0.1, 1, 10], [1.0, 3.0, 1.0], 2.0) < 1  # the smallest of two crossings


def test_every_arm_gets_the_radius_of_the_base_arm() -> None:
    points = [point("whole", 0.5, 2.0)]
    points += [point("off", s, 2 * (s / 3) ** 0.5) for s in (0.5, 1, 5)]
    points += [point("on", s, None) for s in (0.5, 1)]
    chosen = chosen_strengths(points, "whole", MatchSpec())
    assert chosen == {"whole": 0.5, "off": pytest.approx(3.0), "on": 0.5}
    assert misses(points, "whole", MatchSpec()) == ["off"]  # nothing is known of "on" beyond what was tried
    assert misses([*points, point("off", 2.9, 1.97)], "whole", MatchSpec()) == []
    assert misses([*points, point("off", 2.9, 1.9)], "whole", MatchSpec()) == ["off"]


def test_by_accuracy_every_arm_gets_the_largest_strength_that_costs_no_more() -> None:
    how = MatchSpec(by="accuracy", radius=None)
    points = [point("whole", 0.5, 2.0), point("all", 1, 0.1), point("all", 3, 0.1)]
    points += [point("some", s, 0.1, a) for s, a in ((1, 0.9), (10, 0.9), (100, 0.89))]
    points += [point("no", s, 0.1, 0.8) for s in (1, 10)]
    chosen = chosen_strengths(points, "whole", how)
    assert chosen == {"whole": 0.5, "all": 3, "some": 31.6228, "no": 1}
    assert misses(points, "whole", how) == ["some"]
    bumpy = strongest_strength([1, 2, 4, 8], [0.9, 0.7, 0.9, 0.5], 0.9)
    assert bumpy == pytest.approx(4)  # the largest that will do


def test_a_point_is_made_of_network_medians() -> None:
    recipe = arm_recipes({"whole": Truth(radius=0.7)}, seeds=2)["whole"]
    own = calibration_point("whole", 1.0, recipe, "calibration")
    medians = [np.median(columns["radius"]) for columns in recipe.networks.values()]
    assert own.radius == pytest.approx(math.sqrt(medians[0] * medians[1]))
    assert own.accuracy == pytest.approx(0.9)
    assert calibration_point("whole", 1.0, arm_recipes({"w": Truth(radius=-1)})["w"], "calibration").radius is None


@pytest.mark.parametrize(
    ("truth", "matched", "reason"),
    [
        (Truth(radius=0.5), True, ""),
        (Truth(radius=0.52), True, ""),
        (Truth(radius=0.56), False, "radius +1"),
        (Truth(radius=0.44), False, "radius -1"),
        (Truth(accuracy=0.905), True, ""),
        (Truth(accuracy=0.875), False, "accuracy -2.5 points"),
        (Truth(accuracy=0.93, radius=0.3), False, "radius -39.8 %, accuracy +3.0 points"),
        (Truth(radius=-0.5), False, "a median radius is not positive"),
    ],
)
def test_arms_match_within_the_tolerances(truth: Truth, matched: bool, reason: str) -> None:
    recipes = arm_recipes({"whole": Truth(), "off": truth})
    entry = match(recipes["off"], recipes["whole"], MatchSpec())
    assert entry.matched is matched
    assert entry.reason.startswith(reason)
    if truth.radius > 0:
        ratio = np.array([np.median(n["radius"]) for n in recipes["off"].networks.values()])
        ratio /= [np.median(n["radius"]) for n in recipes["whole"].networks.values()]
        assert entry.radius_ratio.mean == pytest.approx(np.exp(np.log(ratio).mean()))
        assert entry.radius_ratio.low < entry.radius_ratio.mean < entry.radius_ratio.high


def test_a_tolerance_that_is_null_is_not_asked_for() -> None:
    recipes = arm_recipes({"whole": Truth(), "off": Truth(radius=0.9)})
    assert match(recipes["off"], recipes["whole"], MatchSpec(by="accuracy", radius=None)).matched
    assert not match(recipes["off"], recipes["whole"], MatchSpec(accuracy=None)).matched
