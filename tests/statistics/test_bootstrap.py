"""Intervals: coverage, pairing, pooled ratios, degenerate images."""

from __future__ import annotations

import numpy as np
import pytest

from tangency.errors import NumericsError
from tangency.statistics import Estimate, PairedBootstrap, excess_over_best, spearman


def test_interval_of_a_mean_covers_the_truth_in_95_percent() -> None:
    rng = np.random.default_rng(0)
    data = rng.gamma(2.0, 1.0, size=(600, 400))  # skewed, mean 2
    boot = PairedBootstrap(400, 500)
    draws = boot.mean(data)
    intervals = [Estimate.of(row, 400) for row in draws]
    covered = np.mean([e.low <= 2.0 <= e.high for e in intervals])
    assert 0.92 <= covered <= 0.975
    width = np.mean([e.high - e.low for e in intervals])
    assert width == pytest.approx(2 * 1.96 * np.sqrt(2.0 / 400), rel=0.05)


def test_kappa_of_random_gradients_is_one_and_covered() -> None:
    rng = np.random.default_rng(1)
    k, d, n = 3, 40, 300
    fractions = rng.beta(k / 2, (d - k) / 2, size=(400, n))
    boot = PairedBootstrap(n, 400)
    draws = boot.pooled_kappa(fractions, np.full((400, n), float(k)), d)
    assert draws[:, 0].mean() == pytest.approx(1.0, abs=0.01)
    covered = np.mean([e.low <= 1 <= e.high for e in (Estimate.of(row, n) for row in draws)])
    assert 0.91 <= covered <= 0.98
    mean_of_ratios = ((1 - fractions) / fractions * k / (d - k)).mean()
    assert mean_of_ratios > 1.5  # the biased aggregate that pooling replaces: its null mean is k/(k − 2)


def test_kappa_equals_the_formula() -> None:
    fraction, rank = np.array([0.2, 0.5, np.nan]), np.array([2.0, 4.0, 2.0])
    draws = PairedBootstrap(3, 10).pooled_kappa(fraction, rank, 10)
    assert draws[0] == pytest.approx(((0.8 + 0.5) / (8 + 6)) / ((0.2 + 0.5) / (2 + 4)))


def test_pairing_makes_the_interval_of_a_difference_narrow() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(size=500)
    a, b = hard + 0.01 * rng.normal(size=500), hard + 0.1
    boot = PairedBootstrap(500, 500)
    difference = Estimate.of(boot.mean(b) - boot.mean(a), 500)
    assert difference.low < 0.1 < difference.high
    assert difference.high - difference.low < 0.005 < Estimate.of(boot.mean(a), 500).high


def test_degenerate_images_are_left_out_and_all_degenerate_is_nan() -> None:
    boot = PairedBootstrap(4, 50)
    values = np.array([1.0, np.nan, 3.0, np.inf])
    assert boot.mean(values)[0] == 2.0
    nothing = Estimate.of(boot.mean(np.full(4, np.nan)), 0, 4)
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()
    assert nothing.degenerate == 4


def test_pooled_ratio_skips_images_without_a_pair() -> None:
    boot = PairedBootstrap(3, 20)
    assert boot.pooled_ratio(np.array([1.0, 2.0, np.nan]), np.array([4.0, 4.0, 100.0]))[0] == 3 / 8


def test_resamples_depend_on_the_seed_only() -> None:
    assert np.array_equal(PairedBootstrap(9, 7, 1).counts, PairedBootstrap(9, 7, 1).counts)
    assert not np.array_equal(PairedBootstrap(9, 7, 1).counts, PairedBootstrap(9, 7, 2).counts)
    assert (PairedBootstrap(9, 7, 1).counts.sum(1) == 9).all()


def test_excess_names_the_best_control_and_is_paired() -> None:
    rng = np.random.default_rng(3)
    base = rng.random(400)
    values = base + 0.1
    controls = {"dct": base - 0.2, "pca": base + 0.05, "shuffled": rng.random(400) * 0.1}
    found = excess_over_best(PairedBootstrap(400, 300), values, controls)
    assert found.best == "pca"
    assert found.estimate.mean == pytest.approx(0.05)
    assert found.estimate.high - found.estimate.low < 1e-9
    assert found.controls["dct"].mean == pytest.approx(0.3)


def test_excess_is_not_positive_where_a_control_explains_everything() -> None:
    rng = np.random.default_rng(4)
    values = rng.random(300)
    found = excess_over_best(PairedBootstrap(300), values, {"pca": rng.permutation(values), "dct": values + 0.2})
    assert found.estimate.high < 0
    assert found.best == "dct"


def test_excess_leaves_out_images_that_lack_any_control() -> None:
    values, control = np.array([1.0, 1.0, 1.0]), np.array([0.5, np.nan, 0.5])
    found = excess_over_best(PairedBootstrap(3, 20), values, {"dct": control})
    assert (found.estimate.n, found.estimate.degenerate, found.estimate.mean) == (2, 1, 0.5)
    with pytest.raises(NumericsError, match="no controls"):
        excess_over_best(PairedBootstrap(3, 20), values, {})


def test_spearman_equals_scipy_and_its_p_is_small_for_a_monotone_relation() -> None:
    from scipy import stats

    rng = np.random.default_rng(5)
    x, y = rng.normal(size=12), rng.normal(size=12)
    draws = np.repeat(x[:, None], 301, 1), np.repeat(y[:, None], 301, 1)
    found = spearman(*draws)
    exact = stats.spearmanr(x, y)
    assert found.rho == pytest.approx(exact.statistic)
    assert found.p == pytest.approx(exact.pvalue, abs=0.03)
    assert found.low < found.rho < found.high
    monotone = spearman(draws[0], np.exp(draws[0]))
    assert monotone.rho == pytest.approx(1)
    assert monotone.p < 0.001


def test_spearman_of_two_trials_or_a_constant_is_undefined() -> None:
    assert np.isnan(spearman(np.zeros((2, 11)), np.zeros((2, 11))).rho)
    assert spearman(np.full((5, 11), np.nan), np.zeros((5, 11))).n == 0
    with pytest.raises(NumericsError, match="expected equal"):
        spearman(np.zeros((3, 11)), np.zeros((3, 12)))


def test_an_infinite_kappa_is_counted_as_no_value() -> None:
    draws = PairedBootstrap(4, 20).pooled_kappa(np.zeros(4), np.full(4, 2.0), 10)
    found = Estimate.of(draws, 4)
    assert np.isnan(found.mean)
    assert (found.n, found.degenerate) == (0, 4)


def test_a_tie_with_several_controls_is_rarely_called_a_defeat_and_never_a_win() -> None:
    rng = np.random.default_rng(6)
    boot = PairedBootstrap(200, 200)
    below = above = 0
    for _ in range(300):
        controls = {str(j): rng.normal(size=200) for j in range(4)}
        found = excess_over_best(boot, rng.normal(size=200), controls).estimate
        below, above = below + (found.high < 0), above + (found.low > 0)
    assert below / 300 < 0.13  # resampling the largest control gives 0.18
    assert above / 300 < 0.025


def test_a_control_without_any_value_is_left_out() -> None:
    values = np.array([0.5, 0.6, 0.7])
    found = excess_over_best(PairedBootstrap(3, 20), values, {"shuffled_class": values * np.nan, "dct": values - 0.1})
    assert found.best == "dct"
    assert found.estimate.mean == pytest.approx(0.1)
    assert found.estimate.degenerate == 0


def test_spearman_of_a_constant_has_no_p() -> None:
    rng = np.random.default_rng(7)
    found = spearman(np.ones((6, 31)), rng.normal(size=(6, 31)))
    assert np.isnan([found.rho, found.low, found.high, found.p]).all()
