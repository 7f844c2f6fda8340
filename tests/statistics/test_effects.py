"""Effect sizes in closed form, and seeds resampled before images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tangency.errors import NumericsError
from tangency.statistics import (
    Estimate,
    Mean,
    PairedBootstrap,
    Ratio,
    SeedBootstrap,
    cohens_dz,
    null_sd_units,
    pair_dz,
)


def test_dz_is_the_paired_t_over_the_root_of_n() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 80), rng.normal(size=80)
    t = stats.ttest_rel(a, b).statistic
    assert cohens_dz(a - b) == pytest.approx(t / np.sqrt(80))
    assert pair_dz(Mean(a), Mean(b)) == pytest.approx(t / np.sqrt(80))


def test_pseudo_values_of_a_ratio_have_the_delta_methods_spread() -> None:
    rng = np.random.default_rng(1)
    n = 4000
    below = rng.random((2, n)) + 0.5
    above = below * (1 + 0.1 * rng.normal(size=(2, n))) + np.array([[0.02], [0.0]])
    theta = above.sum(1) / below.sum(1)
    influence = [(above[i] - theta[i] * below[i]) / below[i].mean() for i in range(2)]
    expected = (theta[0] - theta[1]) / (influence[0] - influence[1]).std()
    assert pair_dz(Ratio(above[0], below[0]), Ratio(above[1], below[1])) == pytest.approx(expected, rel=0.01)


def test_effects_without_spread_or_without_images() -> None:
    same = np.arange(5.0)
    assert cohens_dz(same - same) == 0
    assert cohens_dz(np.full(4, -0.1)) == -np.inf
    assert np.isnan(cohens_dz(np.array([1.0, np.nan])))
    assert pair_dz(Mean(same), Mean(same)) == 0
    assert np.isnan(pair_dz(Mean(same), Mean(np.full(5, np.nan))))
    assert null_sd_units(same + 3, same) == pytest.approx(3 / same.std(ddof=1))
    assert null_sd_units(np.append(same + 3, np.nan), np.append(same, 50)) == null_sd_units(same + 3, same)
    assert np.isnan(null_sd_units(same[:1], same[:1]))


def test_the_effect_in_null_units_is_glasss_delta() -> None:
    rng = np.random.default_rng(2)
    null = rng.normal(0.1, 0.2, 50_000)
    assert null_sd_units(rng.normal(0.5, 0.7, 50_000), null) == pytest.approx(2.0, abs=0.03)


def test_seeds_widen_the_interval_by_their_own_variance() -> None:
    rng = np.random.default_rng(3)
    seeds, images = 12, 400
    hard = rng.normal(size=images)
    of_seed = rng.normal(scale=0.2, size=(seeds, 1))
    boot = PairedBootstrap(images, 2000)
    draws = boot.mean(hard + of_seed)
    found = Estimate.of(SeedBootstrap(seeds, 2000).mean(draws), images)
    variance = hard.var() / images + of_seed.var() / seeds
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.1)
    assert found.mean == pytest.approx(hard.mean() + of_seed.mean())


def test_differences_of_two_cells_are_paired_over_seeds_and_images() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(5, 100))
    boot, seeds = PairedBootstrap(100, 300), SeedBootstrap(5, 300)
    difference = seeds.mean(boot.mean(values + 0.25)) - seeds.mean(boot.mean(values))
    assert np.allclose(difference, 0.25)


def test_intervals_over_seeds_hold_the_truth() -> None:
    """A training method's mean over seeds and images, both drawn anew: 20 seeds, as 5 would fall short of 95 %."""
    rng = np.random.default_rng(5)
    boot, seeds = PairedBootstrap(80, 300), SeedBootstrap(20, 300)
    held = []
    for _ in range(400):
        values = rng.normal(size=(1, 80)) + rng.normal(scale=0.5, size=(20, 1)) + rng.normal(size=(20, 80))
        found = Estimate.of(seeds.mean(boot.mean(values)), 80)
        held.append(found.low <= 0 <= found.high)
    assert 0.91 <= np.mean(held) <= 0.98


def test_draws_of_another_number_of_seeds_are_refused() -> None:
    with pytest.raises(NumericsError, match="expected"):
        SeedBootstrap(3, 10).mean(np.ones((2, 11)))
    with pytest.raises(NumericsError, match="at least 1"):
        SeedBootstrap(0, 10)
