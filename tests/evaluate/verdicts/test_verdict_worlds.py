"""Verdicts where the truth is known: the exact Bayes rule, robust networks and wrappers in small worlds."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from tangency.evaluate.verdicts import Recipe, SweepRows, SweepVerdicts, verdicts
from verdict_worlds import Bench

SMALL = {
    "linear": ("linear?shape=1x12x12&rank=4", 0.0),
    "offset": ("offset?shape=1x12x12&rank=4&classes=4", 0.2),
    "fitted": ("fitted?size=14&rank=6", 0.0),
}
WRAPPERS = ("pca-25", "blur-1", "wiener-0.1")
SWEEP = (("standard", 0.0), ("gradient_norm", 0.1))


@cache
def bench(name: str) -> Bench:
    return Bench(*SMALL[name], SWEEP, train=800, test=300, epochs=2)


@cache
def rows_of(name: str) -> SweepRows:
    return bench(name).rows(WRAPPERS)


@cache
def judged(name: str) -> SweepVerdicts:
    return verdicts(rows_of(name))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n == "fitted" else []) for n in SMALL])
def test_the_exact_bayes_rule_is_bayes_aligned_and_a_filter_before_the_standard_network_is_not(name: str) -> None:
    references = judged(name).references
    assert references["Bayes rule"].regime == "bayes_aligned"
    assert references["Bayes rule"].aligned["bayes_gradient"].beyond_filter.mean > 0.1
    for wrapper in WRAPPERS:
        assert references[wrapper].regime in ("weak", "undetermined", "excessive"), wrapper
    assert references["untrained"].regime == "collapsed"
    assert judged(name).recipes["standard 0"].regime == "weak"


def test_a_wrapper_truly_raises_the_cosine_and_this_is_reported() -> None:
    own = judged("linear")
    behind = own.references["pca-25"].aligned["bayes_gradient"]
    assert behind.over_standard.low > 0.05
    assert behind.over_filter.high < 0


def test_gradients_are_on_manifold_where_bayes_gradients_are() -> None:
    """One subspace for all images leaves no local control; in the fitted mixture each image has its own."""
    linear, fitted = (judged(name).references["Bayes rule"].manifold[""] for name in ("linear", "fitted"))
    assert linear.status == "shown (global)"
    assert set(linear.left_out) == {"shuffled", "shuffled_class", "pca"}
    assert linear.controls["dct"].mean > 1
    assert fitted.status == "shown"
    assert fitted.worst.low > 0.4
    assert judged("fitted").recipes["standard 0"].on_manifold == "not"


def test_nothing_is_on_manifold_on_parallel_subspaces_and_the_thesis_fails() -> None:
    own = judged("offset")
    assert {each.on_manifold for each in (*own.recipes.values(), *own.references.values())} == {"not"}
    assert own.references["Bayes rule"].manifold[""].worst.high < -1.24
    assert own.thesis["gradient_norm"].status == "fails"
    assert own.thesis["gradient_norm"].reasons[-1].endswith("on-manifold: not")


@pytest.mark.parametrize("factor", [0.03, 0.1, 0.3, 3.0, 10.0, 30.0])
def test_a_factor_of_the_logits_changes_nothing(factor: float) -> None:
    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return factor * net(x)

    own = bench("linear")
    net = own.trained("gradient_norm", 0.1)
    rows = rows_of("linear")
    scaled = Recipe("gradient_norm 0.1", "gradient_norm", 0.1, {0: own.measured(Scaled())})
    before = judged("linear").recipes[scaled.name]
    after = verdicts(dataclasses.replace(rows, recipes=[rows.recipes[0], scaled])).recipes[scaled.name]
    assert (before.regime, before.on_manifold) == (after.regime, after.on_manifold)
    assert before.accuracy == after.accuracy
    assert before.radius.mean == pytest.approx(after.radius.mean, abs=1e-6)
    for one, other in (
        (before.aligned["bayes_gradient"].alignment, after.aligned["bayes_gradient"].alignment),
        (before.manifold[""].controls["dct"], after.manifold[""].controls["dct"]),
    ):
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high), abs=1e-6)


RANKED = (
    *(("gradient_norm", s) for s in (0.01, 0.1, 0.3, 1.0)),
    *(("pgd_l2", s) for s in (0.1, 0.3, 1.0)),
    *(("noise_augmentation", s) for s in (0.1, 0.3)),
)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sigma"), [("offset", 0.2), ("linear", 0.1), ("fitted", 0.6)])
def test_networks_are_ranked_by_estimated_directions_as_by_the_exact_one(name: str, sigma: float) -> None:
    """L under the direction of a mixture fitted to the training images; F² and κ fail on `offset`."""
    from scipy.stats import spearmanr

    from tangency.mixtures import fit_mixture
    from tangency.score import MixtureScore

    own = Bench(SMALL[name][0], sigma, (("standard", 0.0), *RANKED), train=2000, test=500, epochs=6)
    estimated = MixtureScore(fit_mixture(own.data.train, 2, own.world.intrinsic_dimension, seed=0)[0])
    key = f"alignment_cosine.margin.bayes_gradient.sigma={own.sigma:g}"
    truth, level, rivals = [], [], []
    for objective, strength in own.sweep:
        net = own.trained(objective, strength)
        exact, rough = own.measured(net), own.measured(net, estimated)
        truth.append(exact[key])
        level.append(rough[key] - rough[f"{key}.shuffled"])
        rivals.append((np.nanmean(exact["tangent_fraction.margin"]), -np.nanmean(exact["log_kappa.margin"])))
    cosines, levels = np.nanmean(truth, 1), np.nanmean(level, 1)
    order_of_rivals = [float(spearmanr(cosines, rival)[0]) for rival in zip(*rivals, strict=True)]
    print(name, "cosines", cosines.round(3), "L", levels.round(3), "Spearman", spearmanr(cosines, levels)[0])
    print("Spearman of F² and −log κ", order_of_rivals, "discordant", discordant(np.array(truth), np.array(level)))
    assert np.ptp(cosines) >= 0.15
    assert spearmanr(cosines, levels)[0] >= 0.9
    assert discordant(np.array(truth), np.array(level)) == []
    if name == "offset":
        assert max(order_of_rivals) < 0.5


def discordant(truth: np.ndarray, level: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of (networks, images) that both order beyond 2 paired standard errors, and differently."""
    return [
        (i, j)
        for i in range(len(truth))
        for j in range(i)
        if order(truth[i] - truth[j]) * order(level[i] - level[j]) < 0
    ]


def order(difference: np.ndarray) -> int:
    """The sign of the mean; 0 within 2 standard errors."""
    known = difference[np.isfinite(difference)]
    error = known.std(ddof=1) / len(known) ** 0.5
    return int(np.sign(known.mean())) if abs(known.mean()) > 2 * error else 0
