"""Verdicts on networks whose truth is known: own better than every sham, equal to one, or not comparable."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import numpy as np
import pytest

from cause_support import CLOSED, FRACTION, TRAINED, Truth, arm_recipes, real_spec
from tangency.cause.compare import arm_entries, criterion_entries, whole_verdict
from tangency.cause.entries import ArmEntry, CauseResult, CriterionEntry
from tangency.cause.findings import findings
from tangency.cause.spec import CauseSpec
from tangency.evaluate.entries import to_json
from tangency.evaluate.verdicts import Recipe
from tangency.statistics import crossed_difference, crossed_log_ratio
from verdict_support import DIMENSION, RANK

NAMES = {"local-pca?rank=12": "", "mfa": "mfa"}
LEVEL = Truth(alignment=0.24, fraction=0.3)
BETTER = dataclasses.replace(LEVEL, alignment=0.30, fraction=0.4)
SPEC = real_spec()


def truths(**changes: Truth) -> dict[str, Truth]:
    """Own, whole and shams alike, none and on-own worse, but for the changes (underscores for dashes)."""
    worse = Truth(alignment=0.13, fraction=0.2, radius=0.2, accuracy=0.92)
    own = dict.fromkeys(("whole", "off-own", "off-other", "off-random"), LEVEL)
    own = {"none": worse, "on-own": dataclasses.replace(worse, radius=0.5, accuracy=0.9)} | own
    return own | {name.replace("_", "-"): truth for name, truth in changes.items()}


def compared(
    made: Mapping[str, Recipe], spec: CauseSpec = SPEC
) -> tuple[list[ArmEntry], dict[str, CriterionEntry]]:  # fmt: skip
    strengths = dict.fromkeys((arm.name for arm in spec.arms), 1.0)
    arms = arm_entries(spec, strengths, made)
    held_out = spec.held_out(spec.matched(strengths))
    entries = criterion_entries(spec, made, arms, held_out, NAMES, DIMENSION)
    return arms, {entry.criterion: entry for entry in entries}


def verdict(made: Mapping[str, Recipe]) -> str:
    return whole_verdict(list(compared(made)[1].values()))


def test_own_above_every_sham_holds_under_all_held_out_criteria() -> None:
    arms, criteria = compared(arm_recipes(truths(off_own=BETTER)))
    assert [arm.arm for arm in arms if arm.matched] == ["whole", "off-own", "on-own", "off-other", "off-random"]
    assert {name: entry.verdict for name, entry in criteria.items()} == dict.fromkeys(criteria, "holds")
    assert set(criteria) == {"bayes_gradient", "network_bayes_gradient", "local-pca?rank=12", "mfa"}
    assert [name for name, entry in criteria.items() if entry.held_out] == [
        "network_bayes_gradient",
        "local-pca?rank=12",
    ]
    best = criteria["network_bayes_gradient"].best
    assert best is not None
    assert best.mean == pytest.approx(0.06, abs=0.012)
    assert 0 < best.low < best.mean < best.high
    assert best.seed_sds > 3
    assert 0 < best.smallest_found < 0.06  # what was found could be found
    assert whole_verdict(list(criteria.values())) == "holds"


def test_own_no_better_than_a_sham_does_not_hold_whatever_it_gains_over_none() -> None:
    """The pilot: .241 own, .243 another image's, .127 none."""
    arms, criteria = compared(arm_recipes(truths()))
    trained = criteria["network_bayes_gradient"]
    gain = next(each for each in trained.differences if each.arm == "none")
    assert gain.difference.low > 0.05
    assert not gain.matched  # and no claim rests on it
    assert trained.verdict == "does not hold"
    assert trained.best is not None
    assert trained.best.high <= trained.margin == 0.02
    assert whole_verdict(list(criteria.values())) == "does not hold"
    lines = findings("does not hold", arms, list(criteria.values()), [])
    assert lines[0].startswith("It is not the manifold: under the trained score's direction, F² in 'local-pca?rank=12'")
    assert any("own − none +0.1" in line and "not matched" in line for line in lines)
    assert any("A true difference of" in line for line in lines)


def test_a_sham_that_is_not_matched_cannot_refute_nor_be_beaten() -> None:
    weak = dataclasses.replace(LEVEL, alignment=0.1, fraction=0.1, radius=0.3)
    arms, criteria = compared(arm_recipes(truths(off_own=BETTER, off_random=weak)))
    assert [arm.arm for arm in arms if not arm.matched] == ["none", "off-random"]
    best = criteria["network_bayes_gradient"].best
    assert best is not None
    assert best.sham == "off-other"
    assert criteria["network_bayes_gradient"].verdict == "cannot be decided"
    assert "off-random cannot be compared" in criteria["network_bayes_gradient"].reason
    # one sham that is matched and as good refutes, whatever the other is
    _, criteria = compared(arm_recipes(truths(off_random=weak)))
    assert criteria["network_bayes_gradient"].verdict == "does not hold"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"off_own": dataclasses.replace(BETTER, radius=0.7)}, "off-own is not matched"),
        ({"off_own": dataclasses.replace(BETTER, accuracy=0.87)}, "off-own is not matched"),
        (
            {n: dataclasses.replace(LEVEL, radius=0.7) for n in ("off_other", "off_random")},
            "No sham is matched with the base arm.",
        ),
    ],
)
def test_without_a_match_there_is_no_claim(changes: dict[str, Truth], words: str) -> None:
    arms, criteria = compared(arm_recipes(truths(**changes)))
    assert {entry.verdict for entry in criteria.values()} == {"no claim"}
    assert all(words in entry.reason for entry in criteria.values())
    assert all(entry.best is None for entry in criteria.values())
    assert whole_verdict(list(criteria.values())) == "no claim"
    assert any("Not matched, so no claim rests on it" in line for line in findings("no claim", arms, [], []))


def test_three_seed_sds_are_needed_beside_the_interval() -> None:
    noisy = dataclasses.replace(LEVEL, spread=0.03)
    made = arm_recipes(truths(off_own=dataclasses.replace(BETTER, spread=0.03), off_other=noisy, off_random=noisy))
    entry = compared(made)[1]["network_bayes_gradient"]
    assert entry.verdict == "cannot be decided"
    assert entry.best is not None
    assert entry.best.seed_sds < 3
    assert entry.best.smallest_found > 0.06


def test_one_criterion_that_says_no_suffices_and_one_of_the_guides_kind_has_no_say() -> None:
    by_direction = dataclasses.replace(LEVEL, alignment=0.30)  # F² is that of the shams
    _, criteria = compared(arm_recipes(truths(off_own=by_direction)))
    assert criteria["network_bayes_gradient"].verdict == "holds"
    assert criteria["local-pca?rank=12"].verdict == "does not hold"
    assert whole_verdict(list(criteria.values())) == "does not hold"
    made = arm_recipes(truths(off_own=BETTER))
    for recipe in made.values():
        for columns in recipe.networks.values():  # the estimator that the arms were trained in says the opposite
            columns[f"{FRACTION}.tangents=mfa"] = 1 - columns[f"{FRACTION}.tangents=mfa"]
    _, criteria = compared(made)
    assert criteria["mfa"].verdict == "does not hold"
    assert whole_verdict(list(criteria.values())) == "holds"


def test_differences_are_those_of_the_crossed_model_by_the_slow_way() -> None:
    made = arm_recipes(truths(off_own=BETTER))
    _, criteria = compared(made)
    floor = 0.01 * RANK / DIMENSION
    for name, column, slow in (
        ("bayes_gradient", CLOSED, crossed_difference),
        ("network_bayes_gradient", TRAINED, crossed_difference),
        ("local-pca?rank=12", FRACTION, lambda a, b: crossed_log_ratio(a, b, floor)),
    ):
        own = np.stack([made["off-own"].networks[s][column] for s in range(5)])
        for each in criteria[name].differences:
            other = np.stack([made[each.arm].networks[s][column] for s in range(5)])
            assert each.difference == slow(own, other)
    assert {each.arm for each in criteria["mfa"].differences} == set(made) - {"off-own"}


def test_swapped_arms_change_the_sign() -> None:
    made = arm_recipes(truths(off_own=BETTER, off_other=BETTER, off_random=LEVEL))
    swapped = {**made, "off-own": made["off-random"], "off-random": made["off-own"]}
    assert compared(made)[1]["network_bayes_gradient"].best.sham == "off-other"  # type: ignore[union-attr]
    best = compared(swapped)[1]["network_bayes_gradient"].best
    assert best is not None
    assert best.mean < -0.04


def test_lost_networks_are_left_out_of_all_arms_and_lost_arms_are_named() -> None:
    made = arm_recipes(truths(off_own=BETTER))
    fewer = dict(made["off-other"].networks)
    del fewer[1]
    made["off-other"] = dataclasses.replace(made["off-other"], networks=fewer)
    del made["off-random"]
    arms, criteria = compared(made)
    assert {arm.arm: arm.seeds for arm in arms}["off-other"] == [0, 2, 3, 4]
    assert {arm.arm: arm.matched for arm in arms}["off-random"] is False
    assert all(each.difference.networks == 4 for each in criteria["mfa"].differences)
    assert criteria["network_bayes_gradient"].verdict == "cannot be decided"  # one sham was never seen
    assert "No network of off-random could be measured." in findings("cannot be decided", arms, [], [])
    two = arm_recipes(truths(off_own=BETTER), seeds=2)
    assert {entry.verdict for entry in compared(two)[1].values()} == {"no claim"}


def test_a_collapsed_arm_takes_no_image_from_the_others() -> None:
    made = arm_recipes(truths(off_own=BETTER))
    before = compared(made)[1]
    for lost in ("on-own", "off-random"):
        networks = {seed: dict(own) for seed, own in made[lost].networks.items()}
        for own in networks.values():
            own[CLOSED] = np.full_like(own[CLOSED], np.nan)  # as of constant networks, whose gradients are zero
        entry = compared(made | {lost: dataclasses.replace(made[lost], networks=networks)})[1]["bayes_gradient"]
        assert entry.best is not None
        assert entry.best.mean == pytest.approx(before["bayes_gradient"].best.mean, abs=0.02)
        assert lost not in entry.levels
        # that of a sham leaves open what it would have said
        assert entry.verdict == ("holds" if lost == "on-own" else "cannot be decided")


def test_a_lost_base_arm_matches_nothing() -> None:
    made = arm_recipes(truths(off_own=BETTER))
    del made["whole"]
    arms, criteria = compared(made)
    assert not any(arm.matched for arm in arms)
    assert {entry.verdict for entry in criteria.values()} == {"no claim"}


def test_the_result_is_strict_json() -> None:
    arms, criteria = compared(arm_recipes(truths(off_own=dataclasses.replace(BETTER, radius=-1.0))))
    result = CauseResult(
        schema=1, name="n", spec_hash="h", data="d", guide="mfa", base="whole", calibration=[], arms=arms,
        criteria=list(criteria.values()), verdict=whole_verdict(list(criteria.values())),
    )  # fmt: skip
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["verdict"] == "no claim"
    assert content["arms"][2]["radius"] is None
    assert content["criteria"][0] == to_json(next(iter(criteria.values())))
    assert content["arms"][2]["match"]["radius_ratio"]["mean"] is None
