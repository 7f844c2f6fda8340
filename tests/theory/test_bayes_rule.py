"""What the measures say of the Bayes rule, where the answer is known, and of a direction that knows nothing."""

from __future__ import annotations

import pytest
import torch

from tangency.evaluate import estimates
from tangency.measures import MeasureConfig, Rows, measure
from tangency.seeding import Draw
from tangency.tangents import TangentSpace, WorldTangents
from tangency.worlds import BayesClassifier, World, drawn, make_world


def measured(world: World, sigma: float, n: int = 300) -> Rows:
    data = drawn(world, n, 0)
    config = MeasureConfig(
        alignments=(("logp_y", "bayes_gradient"),),  # of three classes the margin's gradient is another one
        sigmas=(sigma,),
        rho_sigmas=(0.01,),
        epsilons=(0.5,),
        directions=1,
        metrics=("cosine",),
    )
    return measure(
        BayesClassifier(world),
        data.pixels.double(),
        data.labels,
        train_data=data,
        score=world,
        tangents=WorldTangents(world),
        config=config,
    )


def test_the_bayes_rule_of_one_subspace_is_on_the_manifold() -> None:
    found = estimates(measured(make_world("linear?shape=1x8x8&rank=5"), 0.0)).measures
    assert found["kappa.margin"].mean < 1e-6
    assert found["tangent_fraction.margin"].mean > 1 - 1e-6
    assert found["rho.logits.sigma=0.01"].mean < 1e-6
    assert found["change_off.eps=0.5"].mean < 1e-6 < found["change_on.eps=0.5"].mean
    assert found["alignment_cosine.logp_y.bayes_gradient.sigma=0"].mean == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("reference", ["offset?shape=1x8x8&rank=5&noise=1e-4", "rotated?shape=1x8x8&rank=3&noise=1e-4"])
def test_the_bayes_rule_of_the_negative_controls_is_not(reference: str) -> None:
    """A Bayes-optimal classifier, its gradient equal to the Bayes gradient, and yet off the manifold."""
    world = make_world(reference)
    found = estimates(measured(world, 0.05))
    measures = found.measures
    assert measures["accuracy"].mean > 0.99
    chance = measures["tangent_fraction.margin"].chance
    assert measures["tangent_fraction.margin"].mean < 0.5
    if "offset" in reference:
        assert measures["tangent_fraction.margin"].high < chance / 100
        assert measures["kappa.margin"].mean is None or measures["kappa.margin"].low > 1
        assert found.excess["tangent_fraction.margin"].high <= 0
    assert measures["change_off.eps=0.5"].low > measures["change_on.eps=0.5"].high * 0.5


def test_a_random_direction_stays_inside_the_null() -> None:
    """F² of 10,000 random directions: inside the central 95 % of Beta(k/2, (d − k)/2) in 95 ± 1.5 %."""
    from scipy.stats import beta

    world = make_world("linear?shape=1x8x8&rank=5")
    k, d, n = 5, 64, 10_000
    basis = world.tangent_basis(world.sample(1, 0).x)[0]
    noise = Draw(3, torch.arange(n), "null").normal(world.shape, torch.float64)
    fraction = TangentSpace(basis.expand(n, -1, -1), torch.full((n,), k)).fraction(noise)
    low, high = beta.ppf([0.025, 0.975], k / 2, (d - k) / 2)
    inside = ((fraction >= low) & (fraction <= high)).double().mean()
    assert abs(float(inside) - 0.95) < 0.015
    wrong_low, wrong_high = beta.ppf([0.025, 0.975], k, d - k)  # a null with the wrong degrees of freedom fails
    assert abs(float(((fraction >= wrong_low) & (fraction <= wrong_high)).double().mean()) - 0.95) > 0.015
