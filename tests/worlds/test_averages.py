"""Identities on average, in every world: mean score, Stein, SURE, calibration; and chance for random gradients."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from tangency.numerics import energy_fraction
from tangency.seeding import Draw
from tangency.worlds import bayes_risk
from worlds.world_averages import AVERAGES, noisy
from worlds.world_cases import NAMES, world_case


# of "decoder", whose sums are long, the identities of `tangency worlds check` take the same averages
@pytest.mark.parametrize("name", [name for name in NAMES if name != "decoder"])
@pytest.mark.parametrize("check", AVERAGES)
def test_average_at_some_noise(check: str, name: str) -> None:
    AVERAGES[check](world_case(name), 0.1)


@pytest.mark.parametrize("name", ["linear", "uneven torus", "thick sphere"])
@pytest.mark.parametrize("sigma", [0.03, 0.5])
@pytest.mark.parametrize("check", AVERAGES)
def test_average_at_little_and_much_noise(check: str, name: str, sigma: float) -> None:
    AVERAGES[check](world_case(name), sigma)


@pytest.mark.parametrize("name", ["linear", "sphere", "faint distractor", "mixture"])
def test_bayes_risk_is_the_error_of_the_bayes_rule(name: str) -> None:
    world, n = world_case(name), 4000
    y, x = world.sample(n, 21).y, noisy(world, 0.1, n)[1]
    error = (world.log_posterior(x, 0.1).argmax(1) != y).double()
    risk = bayes_risk(world, 0.1, n, seed=3)
    width = (risk.high - risk.low) / 2 / 1.96
    assert abs(float(error.mean()) - risk.mean) < 4.5 * (width**2 + float(error.var()) / n) ** 0.5
    assert risk.n == n
    assert 0 < risk.low < risk.mean < risk.high < 1


@pytest.mark.parametrize("name", ["linear", "sphere", "torus", "rotated", "distractor"])
def test_random_gradients_have_the_energy_fraction_of_chance(name: str) -> None:
    world, n = world_case(name), 800
    basis, _ = world.tangent_basis(world.sample(n, 2).x)
    random = Draw(5, torch.arange(n), "chance").normal(world.shape, torch.float64)
    k, d = world.intrinsic_dimension, world.dimension
    found = energy_fraction(basis, random).numpy()
    assert stats.kstest(found, stats.beta(k / 2, (d - k) / 2).cdf).pvalue > 1e-4
