"""The regime rule on intervals: every label, every edge, and the order of the tests."""

from __future__ import annotations

import dataclasses

import pytest

from tangency.statistics.crossed import CrossedEstimate
from tangency.statistics.regimes import (
    ORDER,
    DirectionEvidence,
    RegimeEvidence,
    Thresholds,
    regime_of,
    spoken,
)


def interval(low: float, high: float) -> CrossedEstimate:
    mean = (low + high) / 2
    return CrossedEstimate(mean, low, high, 3, "networks", (mean,) * 3)


ABOVE, AROUND, BELOW = interval(0.02, 0.06), interval(-0.01, 0.02), interval(-0.06, -0.02)
SAME = interval(-0.01, 0.01)
ALIGNED = DirectionEvidence(ABOVE, ABOVE)


def label(
    *directions: DirectionEvidence,
    accuracy: CrossedEstimate | None = SAME,
    constant: CrossedEstimate | None = ABOVE,
    exact: bool = False,
    standard: bool = False,
) -> tuple[str, str]:
    named = {f"direction {i}": each for i, each in enumerate(directions)}
    result = regime_of(RegimeEvidence(constant, accuracy, named, exact, standard), Thresholds())
    return result.regime, result.reason


def test_two_directions_shown_and_equal_accuracy_are_bayes_aligned() -> None:
    regime, reason = label(ALIGNED, ALIGNED)
    assert regime == "bayes_aligned"
    assert "+0.040 [0.020, 0.060]" in reason


def test_one_estimated_direction_is_never_bayes_aligned_and_an_exact_one_is() -> None:
    regime, reason = label(ALIGNED)
    assert regime == "undetermined"
    assert "one Bayes direction only" in reason
    assert label(ALIGNED, exact=True)[0] == "bayes_aligned"


@pytest.mark.parametrize(
    "other",
    [
        DirectionEvidence(AROUND, ABOVE),
        DirectionEvidence(ABOVE, AROUND),
        DirectionEvidence(None, ABOVE),
        DirectionEvidence(ABOVE, None),
        DirectionEvidence(),
    ],
)
def test_what_is_not_shown_or_not_measured_under_one_direction_is_named(other: DirectionEvidence) -> None:
    regime, reason = label(ALIGNED, other)
    assert regime == "undetermined"
    assert "direction 1" in reason
    assert "direction 0" not in reason


def test_no_better_than_a_filter_under_one_direction_is_weak() -> None:
    regime, reason = label(ALIGNED, DirectionEvidence(ABOVE, BELOW))
    assert regime == "weak"
    assert "direction 1" in reason
    assert label(DirectionEvidence(ABOVE, interval(-0.03, 0.02)))[0] == "weak"
    assert label(DirectionEvidence(ABOVE, interval(-0.02, 0.03)))[0] == "undetermined"


def test_without_a_filter_the_standard_networks_own_level_is_the_bar() -> None:
    assert label(DirectionEvidence(BELOW, None))[0] == "weak"
    assert label(DirectionEvidence(AROUND, None))[0] == "undetermined"


def test_lower_accuracy_is_excessive_whatever_the_alignment() -> None:
    inferior = interval(-0.09, -0.06)
    regime, reason = label(ALIGNED, ALIGNED, accuracy=inferior)
    assert regime == "excessive"
    assert "-0.075" in reason
    assert label(ALIGNED, ALIGNED, accuracy=interval(-0.09, -0.04))[0] == "undetermined"
    assert label(ALIGNED, ALIGNED, accuracy=interval(-0.05, 0.0))[0] == "undetermined"


def test_past_the_best_needs_every_direction() -> None:
    past = DirectionEvidence(ABOVE, ABOVE, {"weaker": BELOW, "weakest": ABOVE})
    regime, reason = label(past, past)
    assert regime == "excessive"
    assert "weaker" in reason
    assert label(past, ALIGNED)[0] == "bayes_aligned"
    assert label(past, DirectionEvidence(ABOVE, ABOVE, {"weaker": AROUND}))[0] == "bayes_aligned"


def test_an_accuracy_not_above_a_constant_answers_comes_first() -> None:
    assert label(ALIGNED, ALIGNED, constant=AROUND, accuracy=BELOW)[0] == "collapsed"
    assert label(ALIGNED, ALIGNED, constant=AROUND, standard=True)[0] == "collapsed"


def test_the_standard_network_itself_is_weak() -> None:
    assert label(ALIGNED, ALIGNED, accuracy=None, standard=True)[0] == "weak"


def test_a_collapsed_standard_network_is_no_baseline() -> None:
    evidence = RegimeEvidence(ABOVE, SAME, {"a": ALIGNED, "b": ALIGNED}, baseless=True)
    assert regime_of(evidence, Thresholds()).reason == "the standard network is collapsed, and so no baseline"
    assert regime_of(dataclasses.replace(evidence, above_constant=AROUND), Thresholds()).regime == "collapsed"


def test_without_measurements_nothing_is_claimed() -> None:
    assert label(constant=None) == ("undetermined", "accuracy is not measured")
    assert label(ALIGNED, accuracy=None)[0] == "undetermined"
    assert label() == ("undetermined", "no Bayes direction is measured")
    nothing = CrossedEstimate(float("nan"), float("nan"), float("nan"), 1, "images", (float("nan"),))
    assert label(DirectionEvidence(nothing, nothing), DirectionEvidence(nothing, nothing))[0] == "undetermined"


def test_a_larger_margin_only_forgives() -> None:
    evidence = RegimeEvidence(ABOVE, interval(-0.06, -0.03), {"a": ALIGNED, "b": ALIGNED})
    labels = [regime_of(evidence, Thresholds(accuracy_margin=margin)).regime for margin in (0.02, 0.05, 0.10)]
    assert labels == ["excessive", "undetermined", "bayes_aligned"]


def test_the_order_of_the_tests_is_printed() -> None:
    assert [line.split(":")[0] for line in ORDER] == [
        "collapsed",
        "excessive",
        "Bayes-aligned",
        "weak",
        "undetermined",
    ]
    assert spoken(None) == "not measured"
    assert dataclasses.asdict(Thresholds()) == {
        "accuracy_margin": 0.05,
        "filter_margin": 0.1,
        "overlap": 0.95,
        "floor": 0.01,
        "images": 0.5,
        "level": 0.95,
    }
