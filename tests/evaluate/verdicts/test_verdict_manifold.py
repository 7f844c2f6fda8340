"""On-manifold from columns whose truth is known: each control on its own, and those that are the same subspace."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tangency.evaluate.verdicts import Recipe, SweepRows, verdicts
from tangency.evaluate.verdicts.entries import ManifoldUnder
from tangency.evaluate.verdicts.manifold import combined
from verdict_support import CONTROLS, DIMENSION, FRACTION, IMAGES, Truth, sweep

TANGENT = Truth(alignment=0.25, fraction=0.5)
RANKS = {"not": 0, "open": 1, "shown (global)": 2, "shown": 3}


def judged(truth: Truth, seeds: int = 5, **columns: object) -> ManifoldUnder:
    """The on-manifold verdict of one recipe, with columns replaced by constants (or removed where None)."""
    return verdicts(changed(sweep({"own": truth}, seeds), **columns)).recipes["own"].manifold[""]


def changed(rows: SweepRows, **columns: object) -> SweepRows:
    for recipe in rows.recipes:
        for own in recipe.networks.values():
            for name, value in columns.items():
                key = name.replace("__", ".")
                if value is None:
                    own.pop(key, None)  # type: ignore[attr-defined]
                else:
                    own[key] = np.full(IMAGES, value)  # type: ignore[index]
    return rows


def control(name: str) -> str:
    return f"{FRACTION}.{name}".replace(".", "__")


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_above_every_control_is_shown(seeds: int) -> None:
    under = judged(TANGENT, seeds)
    assert under.status == "shown"
    assert list(under.controls) == ["chance", *CONTROLS]
    assert under.worst.control == "pca"
    assert under.worst.mean == pytest.approx(np.log(0.5 / 0.25), abs=0.02)
    assert under.controls["chance"].mean == pytest.approx(np.log(0.5 / (4 / 64)), abs=0.02)
    assert "against pca, the best of" in under.reason
    assert (under.left_out, under.missing) == ({}, [])


@pytest.mark.parametrize("name", ["shuffled", "shuffled_class", "dct", "pca", "phase"])
def test_one_control_that_is_not_beaten_is_enough(name: str) -> None:
    assert judged(dataclasses.replace(TANGENT, controls={name: 0.6})).status == "not"
    assert judged(dataclasses.replace(TANGENT, controls={name: 0.5}, spread=0.03)).status == "open"


def test_a_fraction_at_chance_is_never_on_manifold() -> None:
    below = dict.fromkeys(CONTROLS, 0.05)
    under = judged(Truth(fraction=4 / 64, controls=below), **{FRACTION.replace(".", "__"): 4 / 64})
    assert all(estimate.low > 0 for name, estimate in under.controls.items() if name != "chance")
    assert under.status == "not"
    assert "against chance" in under.reason
    assert judged(Truth(fraction=4 / 64, controls=below, spread=0.01)).status in ("open", "not")


def test_equal_subspaces_are_left_out_by_name_and_the_rest_still_speaks() -> None:
    equal = dataclasses.replace(TANGENT, controls={"shuffled_class": 0.5})
    assert judged(equal, tangent_overlap__shuffled_class=0.949).status != "shown"
    under = judged(equal, tangent_overlap__shuffled_class=0.951)
    assert under.status == "shown"
    assert under.left_out == {"shuffled_class": pytest.approx(0.951)}
    assert "left out as the same subspace: shuffled_class (overlap 0.951)" in under.reason
    assert "shuffled_class" not in under.controls


def test_without_local_controls_it_is_global() -> None:
    same = dict.fromkeys(("shuffled", "shuffled_class", "pca"), 0.5)
    overlaps = {f"tangent_overlap__{name}": 1.0 for name in same}
    under = judged(dataclasses.replace(TANGENT, controls=same), **overlaps)
    assert under.status == "shown (global)"
    assert sorted(under.controls) == ["chance", "dct", "phase"]
    assert list(under.left_out) == ["shuffled", "shuffled_class", "pca"]
    assert judged(dataclasses.replace(TANGENT, controls={**same, "dct": 0.6}), **overlaps).status == "not"


def test_a_control_without_any_other_space_is_the_same_subspace() -> None:
    nothing = {control(name): np.nan for name in ("shuffled", "shuffled_class")}
    overlaps = {f"tangent_overlap__{name}": np.nan for name in ("shuffled", "shuffled_class")}
    under = judged(TANGENT, **nothing, **overlaps)
    assert under.status == "shown (global)"
    assert under.left_out == {"shuffled": None, "shuffled_class": None}
    assert "shuffled (no image has another)" in under.reason


@pytest.mark.parametrize("name", ["phase", "dct", "shuffled"])
def test_a_control_that_was_not_measured_leaves_it_open(name: str) -> None:
    under = judged(TANGENT, **{control(name): None})
    assert under.status == "open"
    assert under.missing == [name]
    assert f"not measured: {name}" in under.reason
    assert judged(dataclasses.replace(TANGENT, controls={"pca": 0.6}), **{control(name): None}).status == "not"


def test_without_overlaps_every_control_counts() -> None:
    under = judged(TANGENT, **{f"tangent_overlap__{name}": None for name in CONTROLS})
    assert under.status == "shown"
    assert under.missing == [f"overlap with {name}" for name in ("shuffled", "shuffled_class", "dct", "pca")]


def test_no_fraction_counts_below_the_floor() -> None:
    none = {f"{FRACTION}.{name}".replace(".", "__"): 1e-9 for name in CONTROLS}
    under = judged(TANGENT, **none, **{FRACTION.replace(".", "__"): 1e-5})
    assert under.controls["dct"].mean == 0.0
    assert under.status == "not"


def test_a_worse_control_can_only_lower_the_status() -> None:
    for fraction in (0.12, 0.26, 0.5):
        truth = Truth(fraction=fraction)
        before = judged(truth)
        for name, own in CONTROLS.items():
            for raised in (own, own * 1.3, own * 2.5):
                after = judged(dataclasses.replace(truth, controls={name: raised}))
                assert RANKS[after.status] <= RANKS[before.status], (fraction, name, raised)
                assert after.worst.low <= before.worst.low + 1e-12


def test_five_controls_that_are_beaten_by_a_hair_are_rarely_said_to_beat() -> None:
    """F² is above every control; a 95 % upper bound for each is below 0 for some control in 8 % of sweeps."""
    said = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        own = {name: 0.299 + 0.1 * rng.normal(size=100) for name in (f"{FRACTION}.{c}" for c in CONTROLS)}
        own |= {"accuracy": np.ones(100), "tangent_rank": np.full(100, 4.0), FRACTION: 0.3 + 0.1 * rng.normal(size=100)}
        rows = SweepRows([Recipe("standard", "standard", 0.0, {0: own})], constant=0.1, dimension=DIMENSION)
        under = verdicts(rows).recipes["standard"].manifold[""]
        said += under.status == "not"
        assert under.worst.high < 0 or under.status != "not"
    assert said <= 0.04 * 400


@pytest.mark.parametrize(("share", "status"), [(0.4, "open"), (0.6, "shown")])
def test_gradients_of_less_than_half_of_the_images_are_not_shown_to_be_on_manifold(share: float, status: str) -> None:
    rows = sweep({"own": TANGENT})
    for own in rows.recipes[1].networks.values():
        own[FRACTION][round(share * IMAGES) :] = np.nan  # type: ignore[index]
    under = verdicts(rows).recipes["own"].manifold[""]
    assert under.status == status
    assert under.reason.startswith("only 40% of the images have a gradient") == (status == "open")


def test_each_estimator_has_its_own_status_and_they_must_agree() -> None:
    rows = sweep({"own": TANGENT})
    for own in rows.recipes[1].networks.values():
        second = {
            key.replace(FRACTION, f"{FRACTION}.tangents=denoiser"): values.copy()
            for key, values in own.items()
            if key.startswith(FRACTION)
        }
        second |= {
            key.replace(start, f"{start}.tangents=denoiser"): values.copy()
            for start in ("tangent_rank", "tangent_overlap")
            for key, values in own.items()
            if key.startswith(start)
        }
        own |= second
    agreed = verdicts(rows).recipes["own"]
    assert agreed.manifold["denoiser"] == agreed.manifold[""]
    assert agreed.on_manifold == "shown"
    for own in rows.recipes[1].networks.values():
        own[f"{FRACTION}.tangents=denoiser.dct"][:] = 0.7
    split = verdicts(rows).recipes["own"]
    assert (split.manifold[""].status, split.manifold["denoiser"].status) == ("shown", "not")
    assert split.on_manifold == "open"


def test_combined_statuses() -> None:
    assert combined(["shown", "shown"]) == "shown"
    assert combined(["shown", "shown (global)"]) == "shown (global)"
    assert combined(["not", "not"]) == "not"
    assert combined(["shown", "open"]) == combined(["not", "open"]) == combined([]) == "open"
