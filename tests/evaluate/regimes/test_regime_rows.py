"""`tangency.regimes`: labels where the truth is known, of rows in memory, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tangency
from tangency.errors import NumericsError, SpecError
from tangency.evaluate.baseline import MeasuredBaseline, regime_against
from tangency.evaluate.entries import to_json
from tangency.evaluate.filters import Filtered, filter_named
from tangency.evaluate.regimes import FilteredBaseline
from tangency.evaluate.regimes.chosen import ChosenFilters
from tangency.evaluate.verdicts import RecipeVerdict
from tangency.measures import Rows
from tangency.statistics import KappaThresholds
from tangency.statistics.regimes import Thresholds
from tangency.types import Card
from verdict_worlds import Bench

SIGMA, KEY = 0.2, "alignment_cosine.margin.bayes_gradient.sigma=0.2"
CONFIG = tangency.MeasureConfig(sigmas=(SIGMA,), metrics=("cosine",), epsilons=(2.0,), rho_sigmas=(), directions=1)
SWEEP = (("standard", 0.0), ("gradient_norm", 0.1))


@cache
def bench() -> Bench:
    return Bench("linear?shape=1x12x12&rank=4", SIGMA, SWEEP, train=800, test=300, epochs=2)


def rows_of(net: nn.Module) -> Rows:
    own = bench()
    given = {"train_data": own.data.train, "score": own.world, "tangents": tangency.load_tangents("exact", own.data)}
    return tangency.measure(net, own.data.test.images(), own.data.test.labels, config=CONFIG, **given)


@cache
def standard() -> Rows:
    return rows_of(bench().trained(*SWEEP[0]))


@cache
def bayes() -> Rows:
    return rows_of(tangency.BayesClassifier(bench().world, SIGMA))


@cache
def behind() -> FilteredBaseline:
    net, own = bench().trained(*SWEEP[0]), bench()
    return tangency.filtered_baseline(net, train_data=own.data.train, score=own.world, config=CONFIG, images=200)


@cache
def filtered() -> Mapping[str, Rows]:
    return {target: rows_of(net) for target, net in behind().items()}


def labels() -> Tensor:
    return bench().data.test.labels


def judged(rows: Mapping[str, Rows]) -> dict[str, RecipeVerdict]:
    return tangency.regimes(rows, standard(), labels(), filtered=filtered(), slack=behind().slack, exact=True)


def test_the_bayes_rule_is_bayes_aligned_and_neither_the_baseline_nor_a_filter_before_it_is() -> None:
    net, train = bench().trained(*SWEEP[0]), bench().data.train
    wrapped = {name: rows_of(Filtered(filter_named(name, train), net)) for name in ("pca-25", "wiener-0.1")}
    own = judged({"rule": bayes(), "standard": standard(), **wrapped})
    assert own["rule"].regime == "bayes_aligned"
    assert own["rule"].aligned["bayes_gradient"].beyond_filter.low > 0.1
    assert own["rule"].unit == "images"
    assert "not of other seeds" in own["rule"].reason
    assert own["standard"].regime == "weak"
    assert {own[name].regime for name in wrapped} <= {"weak", "undetermined"}
    assert own["pca-25"].aligned["bayes_gradient"].over_standard.low > 0  # a wrapper truly raises the cosine


def test_what_is_not_measured_is_said_and_not_guessed() -> None:
    estimated = tangency.regimes({"rule": bayes()}, standard(), labels(), filtered=filtered())["rule"]
    assert (estimated.regime, "two are needed" in estimated.reason) == ("undetermined", True)
    bare = tangency.regimes({"rule": bayes()}, standard(), labels(), exact=True)["rule"]
    assert (bare.regime, "beyond the best fixed linear filter is not measured" in bare.reason) == ("undetermined", True)


def test_a_measured_model_is_labelled_alike_in_words_and_as_json() -> None:
    chosen = ChosenFilters(dict(behind().best.chosen), dict(behind().slack), 200)
    base = MeasuredBaseline("BASE", Card("convnet", (1, 12, 12), ("a",)), standard(), chosen, filtered())
    own = regime_against(bayes(), base, bench().data, ["exact"], exact=True)
    expected = judged({"rule": bayes()})["rule"]
    aligned, wanted = own.verdict.aligned["bayes_gradient"], expected.aligned["bayes_gradient"]
    assert own.regime == expected.regime == "bayes_aligned"
    assert (aligned.over_standard, aligned.beyond_filter) == (wanted.over_standard, wanted.beyond_filter)
    assert own.standard.regime == "weak"
    label, images, level, manifold, under = own.text.splitlines()
    assert label.startswith("Against BASE the model is Bayes-aligned: closed form: L − the standard network's +")
    assert images.startswith("Over 300 test images, one network each")
    assert f"− that of the baseline behind {chosen.names['bayes_gradient']} +" in level
    assert (manifold, under[:21]) == (f"On-manifold: {expected.on_manifold}.", "Under exact: shown (g")
    plain = json.loads(json.dumps(to_json(own), allow_nan=False))
    assert plain["verdict"]["aligned"]["bayes_gradient"]["over_filter"]["low"] > 0.1
    assert plain["filters"]["names"] == chosen.names
    assert len(plain["order"]) == 5
    unsure = regime_against(bayes(), base, bench().data, ["exact"], exact=False)
    assert (unsure.regime, "two are needed" in unsure.text) == ("undetermined", True)


def test_logits_times_thirty_change_nothing() -> None:
    class Times(nn.Module):
        def forward(self, logits: Tensor) -> Tensor:
            return 30 * logits

    net = bench().trained(*SWEEP[1])
    own = judged({"as it is": rows_of(net), "times": rows_of(nn.Sequential(net, Times()))})
    a, b = own["as it is"], own["times"]
    assert (a.regime, a.on_manifold, a.sensitivity) == (b.regime, b.on_manifold, b.sensitivity)
    for name in ("alignment", "over_standard", "over_filter", "beyond_filter"):
        one, two = (getattr(each.aligned["bayes_gradient"], name) for each in (a, b))
        assert [one.mean, one.low, one.high] == pytest.approx([two.mean, two.low, two.high], abs=1e-6)
    worst = [each.manifold[""].worst for each in (a, b)]
    assert worst[0].mean == pytest.approx(worst[1].mean, abs=1e-6)
    assert a.radius.mean == pytest.approx(b.radius.mean, abs=1e-6)


def test_seeds_are_paired_in_their_order_and_rows_alone_stand_for_every_seed() -> None:
    seeds = [standard(), rows_of(bench().trained(*SWEEP[1]))]  # two networks that differ
    twice = {"bayes_gradient": [filtered()["bayes_gradient"]] * 2}
    rows = {"rule": bayes(), "again": seeds[::-1]}
    own = tangency.regimes(rows, seeds, labels(), filtered=twice, exact=True)
    level = [(each[KEY] - each[f"{KEY}.shuffled"]).numpy() for each in (bayes(), *seeds)]
    rise = own["rule"].aligned["bayes_gradient"].over_standard
    assert (rise.networks, rise.unit) == (2, "networks")
    assert rise.each == pytest.approx([np.nanmean(level[0] - base) for base in level[1:]])
    crossed = own["again"].aligned["bayes_gradient"].over_standard.each
    assert crossed == pytest.approx([np.nanmean(level[2] - level[1]), np.nanmean(level[1] - level[2])])


def test_a_sweep_is_named_by_objective_and_strength() -> None:
    """Synthetic: the stronger of two recipes has lost alignment; named alone, neither knows of the other."""
    rng, images = np.random.default_rng(0), 200

    def rows(alignment: float) -> Rows:
        values = {KEY: rng.normal(alignment, 0.1, images), f"{KEY}.shuffled": rng.normal(0, 0.1, images)}
        values["accuracy"] = (np.arange(images) % 10 > 0).astype(float)
        return Rows(torch.arange(images), {key: torch.from_numpy(own) for key, own in values.items()}, 64, 2)

    base, y = rows(0.2), torch.arange(images) % 2
    given = {"filtered": {"bayes_gradient": rows(0.25)}, "exact": True}
    weak, strong = ("pgd_l2", 0.5), ("pgd_l2", 2.0)
    own = tangency.regimes({strong: rows(0.4), weak: rows(0.5)}, base, y, **given)
    assert (own[weak].regime, own[strong].regime) == ("bayes_aligned", "excessive")
    assert "L − that of pgd_l2 0.5" in own[strong].reason
    alone = tangency.regimes({"strong": rows(0.4), "weak": rows(0.5)}, base, y, **given)
    assert {verdict.regime for verdict in alone.values()} == {"bayes_aligned"}
    lax = tangency.regimes({"strong": rows(0.32)}, base, y, **given, thresholds=Thresholds(filter_margin=0.0))
    strict = tangency.regimes({"strong": rows(0.32)}, base, y, **given, slack={"bayes_gradient": 0.1})
    assert (lax["strong"].regime, strict["strong"].regime) == ("bayes_aligned", "weak")


def test_the_former_rule_is_as_it_was() -> None:
    flat = dict(standard().columns)
    for key in [key for key in flat if key.startswith("change_on")]:
        flat[key] = flat[key] / 10
    rows = {"same": standard(), "flat": dataclasses.replace(standard(), columns=flat)}
    own = tangency.regimes(rows, standard(), labels(), rule="kappa")
    assert (own["same"].regime, own["same"].kappa_ratio) == ("weak", (1.0, 1.0))
    assert own["flat"].regime == "excessive"
    assert own["flat"].change_on_ratio == pytest.approx((0.1, 0.1))
    lax = tangency.regimes(rows, standard(), labels(), rule="kappa", thresholds=KappaThresholds(change_on_ratio=0.01))
    assert lax["flat"].regime == "weak"


def test_what_cannot_be_judged_is_refused() -> None:
    one, y = standard(), labels()
    poor = dataclasses.replace(one, columns=one.columns | {"accuracy": torch.zeros(len(y), dtype=torch.float64)})
    bare = dataclasses.replace(one, columns={k: v for k, v in one.columns.items() if not k.startswith("change_on")})
    refused: Sequence[tuple[str, dict[str, object]]] = (
        ("got no rows", {"rows": {}}),
        ("the images of 'net' are not those of the baseline", {"rows": {"net": one.at(torch.arange(5))}}),
        (r"labels: got \(3,\) for 300 images", {"labels": y[:3]}),
        ("got 3 networks of 'net' and 1 of the baseline", {"rows": {"net": [one] * 3}}),
        (r"got FilteredBaseline|got Filtered for filtered", {"filtered": behind()}),
        ("Did you mean 'bayes_gradient'", {"filtered": {"bayes_gradent": one}}),
        ("thresholds: got KappaThresholds, expected Thresholds", {"thresholds": KappaThresholds()}),
        ("thresholds: got Thresholds, expected KappaThresholds", {"thresholds": Thresholds(), "rule": "kappa"}),
        ("rule: got 'kapa'", {"rule": "kapa"}),
        ("the accuracy of 'net' is not shown to be above", {"rows": {"net": poor}, "rule": "kappa"}),
        ("'net' lacks κ of the margin", {"rows": {"net": bare}, "rule": "kappa"}),
        ("got 2 networks of 'net', expected one", {"rows": {"net": [one] * 2}, "rule": "kappa"}),
    )
    for message, changed in refused:
        with pytest.raises(NumericsError, match=message):
            tangency.regimes(**({"rows": {"net": one}, "baseline": one, "labels": y} | changed))  # type: ignore[call-overload]
    collapsed = tangency.regimes({"net": poor}, one, y)["net"]
    assert collapsed.regime == "collapsed"


def test_a_filter_needs_a_score_of_classes_and_a_network_of_logits() -> None:
    net, train = bench().trained(*SWEEP[0]), bench().data.train
    with pytest.raises(SpecError, match="got no score of classes"):
        tangency.filtered_baseline(net, train_data=train)
    with pytest.raises(SpecError, match="images: got 1"):
        tangency.filtered_baseline(net, train_data=train, score=bench().world, images=1)
    with pytest.raises(NumericsError, match="logits"):
        tangency.filtered_baseline(nn.Flatten(), train_data=train, score=bench().world)


def test_a_filter_is_chosen_on_logits_where_the_network_ends_in_a_softmax() -> None:
    net, own = bench().trained(*SWEEP[0]), bench()
    given = {"train_data": own.data.train, "score": own.world, "config": CONFIG, "images": 50}
    soft = tangency.filtered_baseline(nn.Sequential(net, nn.Softmax(1)), **given)
    bare = tangency.filtered_baseline(net, **given)
    assert soft.best.chosen == bare.best.chosen
    assert soft.slack["bayes_gradient"] == pytest.approx(bare.slack["bayes_gradient"], abs=1e-6)
