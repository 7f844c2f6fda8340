"""Labels from columns whose truth is known, and what must not change them."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from tangency.errors import NumericsError
from tangency.evaluate.entries import to_json
from tangency.evaluate.verdicts import Recipe, SweepRows, verdicts
from tangency.statistics.regimes import Thresholds
from verdict_support import CLOSED, FRACTION, TRAINED, Truth, columns, recipe, shared_images, sweep

TRUTHS = {
    "gentle": (Truth(alignment=0.102), "weak"),
    "smoother": (Truth(alignment=0.13), "weak"),
    "good": (Truth(alignment=0.25), "bayes_aligned"),
    "past the best": (Truth(alignment=0.2), "excessive"),
    "inferior": (Truth(alignment=0.3, accuracy=0.7), "excessive"),
    "dead": (Truth(alignment=0.3, accuracy=0.09), "collapsed"),
}
SWEEP = {name: truth for name, (truth, _) in TRUTHS.items()}


def regimes(rows: SweepRows, thresholds: Thresholds | None = None) -> dict[str, str]:
    result = verdicts(rows, thresholds)
    return {name: each.regime for name, each in {**result.recipes, **result.references}.items()}


def with_columns(rows: SweepRows, change) -> SweepRows:  # type: ignore[no-untyped-def]
    """The sweep with every network's columns replaced by change(columns)."""

    def changed(each: Recipe) -> Recipe:
        return dataclasses.replace(each, networks={seed: change(own) for seed, own in each.networks.items()})

    return dataclasses.replace(
        rows,
        recipes=[changed(each) for each in rows.recipes],
        references=[changed(each) for each in rows.references],
        filtered={target: changed(each) for target, each in rows.filtered.items()},
    )


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_each_recipe_gets_its_label(seeds: int) -> None:
    if seeds == 3:  # t with 2 degrees of freedom shows only what is far from 0
        SLIM = {name: dataclasses.replace(truth, spread=0.001) for name, truth in SWEEP.items()}
        got = regimes(sweep(SLIM, seeds))
    else:
        got = regimes(sweep(SWEEP, seeds))
    assert got == {"standard": "weak", **{name: label for name, (_, label) in TRUTHS.items()}}


def test_a_collapsed_recipe_of_smaller_strength_makes_nothing_excessive() -> None:
    """Its gradients may point anywhere: only recipes that classify are what L falls from."""
    for accuracy, label in ((0.09, "bayes_aligned"), (0.9, "excessive")):
        own = verdicts(sweep({"first": Truth(alignment=0.4, accuracy=accuracy), "good": Truth(alignment=0.25)}))
        assert own.recipes["good"].regime == label
        weaker = [set(under.over_weaker) for under in own.recipes["good"].aligned.values()]
        assert weaker == 2 * [set() if label == "bayes_aligned" else {"first"}]


def test_reasons_hold_the_test_that_decided_with_its_numbers() -> None:
    own = verdicts(sweep(SWEEP)).recipes
    assert own["dead"].reason.startswith("accuracy − the best constant answer's is -0.")
    assert own["inferior"].reason.startswith("accuracy − the standard network's is -0.")
    assert "L − that of good is -0.0" in own["past the best"].reason
    assert "beyond the best fixed linear filter is -0.0" in own["smoother"].reason
    assert "beyond the filter +0.1" in own["good"].reason


def test_one_seed_says_so_and_three_seeds_have_wider_intervals_than_images() -> None:
    truths = {"good": Truth(alignment=0.25, spread=0.02)}
    alone, three = (verdicts(sweep(truths, seeds)).recipes["good"] for seeds in (1, 3))
    assert (alone.unit, alone.networks) == ("images", 1)
    assert alone.reason.endswith("not of other seeds")
    assert (three.unit, three.networks) == ("networks", 3)
    assert "seeds" not in three.reason
    widths = [v.aligned["bayes_gradient"].over_standard for v in (alone, three)]
    assert widths[1].high - widths[1].low > 1.5 * (widths[0].high - widths[0].low)
    assert len(widths[1].each) == 3


@pytest.mark.parametrize("kept", [1, 2])
def test_one_standard_network_says_nothing_of_other_seeds(kept: int) -> None:
    """As where the others diverged: five networks, and yet one pair that speaks."""
    rows = sweep({"good": Truth(alignment=0.25)})
    left = {seed: rows.recipes[0].networks[seed] for seed in range(kept)}
    rows = dataclasses.replace(rows, recipes=[dataclasses.replace(rows.recipes[0], networks=left), rows.recipes[1]])
    own = verdicts(rows).recipes["good"]
    assert own.aligned["bayes_gradient"].over_standard.networks == kept
    assert own.unit == ("networks" if kept > 1 else "images")
    assert own.reason.endswith("nothing is said of other seeds") == (kept == 1)


@pytest.mark.parametrize(("share", "regime"), [(0.1, "undetermined"), (1.0, "weak")])
def test_gradients_only_where_they_point_well_are_no_alignment(share: float, regime: str) -> None:
    """Standard networks whose gradients are zero but for the images where they happen to be best."""
    rows = sweep({"gated": Truth(alignment=0.101)}, seeds=1, filtered=0.105)
    standard, gated = (each.networks[0] for each in rows.recipes)
    order = np.argsort(sum(gated[key] - standard[key] for key in (CLOSED, TRAINED)))
    none = order[: round((1 - share) * len(order))]
    for key in (CLOSED, TRAINED, FRACTION):
        gated[key][none] = np.nan  # type: ignore[index]
    own = verdicts(rows).recipes["gated"]
    assert own.regime == regime
    assert ("only 10% of the images have a gradient" in own.reason) == (share < 1)


def test_levels_are_the_truth() -> None:
    good = verdicts(sweep(SWEEP)).recipes["good"]
    under = good.aligned["network_bayes_gradient"]
    assert under.alignment.mean == pytest.approx(0.25, abs=0.01)
    assert under.over_standard.mean == pytest.approx(0.15, abs=0.01)
    assert under.over_filter.mean == pytest.approx(0.11, abs=0.01)
    assert under.beyond_filter.mean == pytest.approx(under.over_filter.mean - 0.1 * 0.04, abs=0.001)
    assert good.disattenuated.mean == pytest.approx(math.sqrt(0.35 * 0.3 / 0.2), abs=0.02)
    assert good.radius.mean == pytest.approx(0.5, abs=0.03)
    assert len(good.radius.each) == 5
    assert good.missing == []


def test_the_margin_of_accuracy_is_shown_at_three_values() -> None:
    rows = sweep({"near": Truth(alignment=0.25, accuracy=0.86)}, seeds=5)
    own = verdicts(rows).recipes["near"]
    assert own.sensitivity == {"0.02": "excessive", "0.05": "undetermined", "0.1": "bayes_aligned"} or (
        own.accuracy_difference.low > -0.05 or own.accuracy_difference.high > -0.02
    )
    assert own.sensitivity["0.05"] == own.regime
    assert own.sensitivity["0.1"] == "bayes_aligned"


def test_one_direction_is_never_bayes_aligned_unless_it_is_exact() -> None:
    rows = with_columns(sweep(SWEEP), lambda own: {k: v for k, v in own.items() if not k.startswith(TRAINED)})
    assert regimes(rows)["good"] == "undetermined"
    assert "one Bayes direction only" in verdicts(rows).recipes["good"].reason
    exact = dataclasses.replace(rows, exact=True)
    assert regimes(exact)["good"] == "bayes_aligned"
    rows = with_columns(sweep(SWEEP), lambda own: {k: v for k, v in own.items() if not k.startswith(CLOSED)})
    assert regimes(dataclasses.replace(rows, exact=True))["good"] == "undetermined"  # the trained score is no truth


def test_directions_that_disagree_are_never_bayes_aligned() -> None:
    own = verdicts(sweep({"half": Truth(alignment=0.25, trained=0.11)})).recipes["half"]
    assert own.regime == "weak"
    assert "trained score" in own.reason


def test_without_a_filtered_standard_nothing_is_beyond_smoothing() -> None:
    own = verdicts(sweep(SWEEP, filtered=None)).recipes["good"]
    assert own.regime == "undetermined"
    assert "L beyond the best fixed linear filter is not measured" in own.reason


def test_a_filter_between_two_of_the_grid_is_not_beyond_the_best_of_it() -> None:
    """.142 against .140 is shown by 400 images where networks do not differ: a hair of the filter's own rise of .04."""
    rows = sweep({"pca-40": Truth(alignment=0.142, spread=0.0)}, seeds=1)
    rows = dataclasses.replace(
        rows, filtered={t: recipe("pca-50", Truth(alignment=0.14, spread=0.0), seeds=1) for t in rows.filtered}
    )
    shared = with_columns(rows, _without_noise)
    under = verdicts(shared).recipes["pca-40"].aligned["bayes_gradient"]
    assert under.over_filter.low > 0
    assert regimes(shared)["pca-40"] == "weak"
    none = Thresholds(filter_margin=0.0)
    assert regimes(shared, none)["pca-40"] == "bayes_aligned"
    assert regimes(dataclasses.replace(shared, slack=dict.fromkeys(rows.filtered, 0.003)), none)["pca-40"] == "weak"
    assert regimes(dataclasses.replace(shared, slack={"bayes_gradient": 0.003}), none)["pca-40"] == "weak"


def test_a_filter_whose_slack_is_unknown_is_compared_with_nothing() -> None:
    rows = sweep(SWEEP)
    assert verdicts(rows).recipes["good"].regime == "bayes_aligned"
    own = verdicts(dataclasses.replace(rows, slack={"bayes_gradient": math.inf})).recipes["good"]
    assert own.regime == "undetermined"
    unknown, known = own.aligned["bayes_gradient"], own.aligned["network_bayes_gradient"]
    assert (unknown.over_filter, unknown.beyond_filter, unknown.filtered) == (None, None, None)
    assert known.beyond_filter.low > 0
    assert [each for each in own.missing if "filter" in each] == [
        "L beyond the filter under closed form: too few images of its search to know how good the best filter is"
    ]
    assert not any("filter" in each for each in verdicts(rows).recipes["good"].missing)


def _without_noise(own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Images that all networks answer alike, but for a little."""
    shared = shared_images()
    return {
        key: values.mean() + 0.05 * shared[2] + 0.1 * (values - values.mean())
        if key.startswith((CLOSED, TRAINED))
        else values
        for key, values in own.items()
    }


def test_nothing_is_judged_against_a_collapsed_standard_recipe() -> None:
    rows = sweep(SWEEP)
    blind = dataclasses.replace(rows.recipes[0], networks=recipe("blind", Truth(accuracy=0.09)).networks)
    got = regimes(dataclasses.replace(rows, recipes=[blind, *rows.recipes[1:]]))
    assert got["standard"] == got["dead"] == "collapsed"
    assert {label for name, label in got.items() if name not in ("standard", "dead")} == {"undetermined"}


def test_references_are_labelled_and_never_the_best() -> None:
    images = shared_images()
    rule = Recipe("Bayes rule", "pgd", 0.0, {0: columns(Truth(alignment=0.6), np.random.default_rng(1), images)}, True)
    wrapper = recipe("behind pca-25", Truth(alignment=0.12), "pgd", 0.5)
    rows = sweep(SWEEP)
    with_them = verdicts(dataclasses.replace(rows, references=[rule, wrapper]))
    assert with_them.references["Bayes rule"].regime == "bayes_aligned"
    assert with_them.references["Bayes rule"].reference
    assert with_them.references["behind pca-25"].regime == "weak"
    assert with_them.recipes == verdicts(rows).recipes
    assert with_them.thesis == verdicts(rows).thesis
    trained = dataclasses.replace(rows, recipes=[*rows.recipes, dataclasses.replace(rule, fixed=False)])
    assert "Bayes rule" in verdicts(trained).recipes["good"].aligned["bayes_gradient"].over_weaker


def test_a_network_of_one_seed_is_paired_with_its_own_seed_only() -> None:
    rows = sweep({"good": Truth(alignment=0.25)})
    last = dataclasses.replace(rows.recipes[1], name="last", networks={4: rows.recipes[1].networks[4]})
    stranger = dataclasses.replace(last, name="stranger", networks={9: rows.recipes[1].networks[4]})
    result = verdicts(dataclasses.replace(rows, recipes=[*rows.recipes, last, stranger])).recipes
    assert result["last"].aligned["bayes_gradient"].over_standard.each == pytest.approx(
        [result["good"].aligned["bayes_gradient"].over_standard.each[4]]
    )
    assert result["stranger"].aligned["bayes_gradient"].over_standard is None
    assert result["stranger"].regime == "undetermined"


def test_older_rows_are_not_guessed_at() -> None:
    kept = ("accuracy", "tangent_rank")
    older = with_columns(sweep(SWEEP), lambda own: {k: v for k, v in own.items() if k in kept})
    result = verdicts(older)
    assert {name: each.regime for name, each in result.recipes.items()} == {
        "standard": "weak",
        "gentle": "undetermined",
        "smoother": "undetermined",
        "good": "undetermined",
        "past the best": "undetermined",
        "inferior": "excessive",
        "dead": "collapsed",
    }
    good = result.recipes["good"]
    assert good.reason == "no Bayes direction is measured"
    assert good.missing == ["L under any Bayes direction", "F² of the margin", "the effective strength"]
    assert (good.on_manifold, good.manifold, good.radius) == ("open", {}, None)
    assert result.thesis["pgd"].status == "open"


def test_the_largest_sigma_is_taken_and_logp_is_not() -> None:
    def more(own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        nothing = np.full_like(own[CLOSED], -1.0)
        other = {CLOSED.replace("0.25", "0.1"): nothing, CLOSED.replace("margin", "logp_y"): nothing}
        return own | other | {f"{key}.shuffled": value for key, value in other.items()}

    rows = sweep(SWEEP)
    assert verdicts(with_columns(rows, more)) == verdicts(rows)


@pytest.mark.parametrize("order", ["images", "seeds"])
def test_the_order_of_images_and_seeds_does_not_matter(order: str) -> None:
    rows = sweep(SWEEP)
    before = verdicts(rows)
    if order == "images":
        shuffle = np.random.default_rng(0).permutation(400)
        after = verdicts(with_columns(rows, lambda own: {key: values[shuffle] for key, values in own.items()}))
    else:
        turned = [
            dataclasses.replace(each, networks=dict(reversed(list(each.networks.items())))) for each in rows.recipes
        ]
        after = verdicts(dataclasses.replace(rows, recipes=turned))
    for name, verdict in before.recipes.items():
        other = after.recipes[name]
        assert (verdict.regime, verdict.on_manifold, verdict.sensitivity) == (
            other.regime,
            other.on_manifold,
            other.sensitivity,
        )
        for target, under in verdict.aligned.items():
            assert under.alignment.low == pytest.approx(other.aligned[target].alignment.low, abs=1e-9)
        worst, others = verdict.manifold[""].worst, other.manifold[""].worst
        assert dataclasses.astuple(worst)[1:] == pytest.approx(dataclasses.astuple(others)[1:], abs=1e-9)
    assert before.thesis["pgd"].status == after.thesis["pgd"].status


def test_images_without_a_value_are_left_out_for_all() -> None:
    rows = sweep({"good": Truth(alignment=0.25)})
    rows.recipes[1].networks[0][CLOSED][:50] = np.nan  # type: ignore[index]
    cut = with_columns(rows, lambda own: {key: values[50:] for key, values in own.items()})
    for name in ("over_standard", "alignment"):
        some, fewer = (getattr(verdicts(r).recipes["good"].aligned["bayes_gradient"], name) for r in (rows, cut))
        assert some == fewer


def test_a_network_without_any_gradient_has_no_level() -> None:
    rows = sweep({"flat": Truth(alignment=0.25)})
    for own in rows.recipes[1].networks.values():
        for key in (CLOSED, FRACTION, "radius"):
            own[key][:] = np.nan
    flat = verdicts(rows).recipes["flat"]
    assert flat.missing[:2] == ["L under closed form", "the effective strength"]
    assert (flat.regime, flat.on_manifold) == ("undetermined", "open")


def test_verdicts_are_strict_json() -> None:
    text = json.dumps(to_json(verdicts(sweep(SWEEP))), allow_nan=False)
    back = json.loads(text)
    assert back["recipes"]["good"]["aligned"]["bayes_gradient"]["over_standard"]["unit"] == "networks"
    assert back["thresholds"]["accuracy_margin"] == 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: {"recipes": [*rows.recipes, rows.recipes[1]]}, "two recipes named 'good'"),
        (lambda rows: {"references": [Recipe("none", "x", 0.0, {})]}, "no network of 'none'"),
        (
            lambda rows: {"recipes": [*rows.recipes, dataclasses.replace(rows.recipes[0], name="other")]},
            "two standard recipes",
        ),
        (lambda rows: {"references": [Recipe("few", "x", 0.0, {0: {"accuracy": np.ones(3)}})]}, "the same images"),
        (lambda rows: {"references": [dataclasses.replace(rows.recipes[1], name="f", fixed=True)]}, "as fixed"),
    ],
)
def test_rows_that_do_not_fit_are_refused(change, words: str) -> None:  # type: ignore[no-untyped-def]
    rows = sweep({"good": Truth(alignment=0.25)})
    with pytest.raises(NumericsError, match=words):
        dataclasses.replace(rows, **change(rows))
