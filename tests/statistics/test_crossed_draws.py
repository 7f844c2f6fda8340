"""Draws of networks and images: moments in closed form, pairing, and intervals of values of whole sets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from crossed_worlds import Cell, draws
from tangency.errors import NumericsError
from tangency.statistics import CrossedDraws, PairedBootstrap, crossed, crossed_mean, crossed_sets


def test_without_images_the_draws_are_students_t() -> None:
    estimates = np.array([0.0, 1.0, 5.0, 2.0])
    made = CrossedDraws(4, 200_000).of_sets(estimates, np.zeros(200_001))
    assert made[0] == 2
    expected = stats.t(3, 2, estimates.std(ddof=1) / 2)
    ranks = [0.025, 0.1, 0.5, 0.9, 0.975]
    assert np.quantile(made[1:], ranks) == pytest.approx(expected.ppf(ranks), abs=0.06)


def test_the_draws_are_as_wide_as_crossed_intervals() -> None:
    for cell in (Cell("levels", 0.0, 0.0, 3), Cell("levels", 0.9, 2.0, 3), Cell("levels", 0.5, 6.0, 5)):
        ((found, _, table),) = draws(cell, 1, seed=4)
        influence = table - table.mean(1, keepdims=True)
        made = CrossedDraws(cell.networks, 20_000).of(PairedBootstrap(cell.images, 20_000).mean(table), influence)
        low, high = np.quantile(made[1:], [0.025, 0.975])
        assert made[0] == pytest.approx(found.mean)
        assert high - low == pytest.approx(found.high - found.low, rel=0.05)


def test_what_networks_do_not_share_is_not_counted_twice() -> None:
    """Of 400 networks that share no image effect, a bootstrap over images adds s²/(S·N) to what t holds already."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(400, 50))
    made = CrossedDraws(400, 2000).of(PairedBootstrap(50, 2000).mean(table), table - table.mean(1, keepdims=True))
    assert made[1:].std() == pytest.approx(table.mean(1).std(ddof=1) / 20, rel=0.15)
    shared = table + 3 * rng.normal(size=50)
    made = CrossedDraws(400, 2000).of(PairedBootstrap(50, 2000).mean(shared), shared - shared.mean(1, keepdims=True))
    assert made[1:].std() == pytest.approx(shared.mean(0).std(ddof=1) / 50**0.5, rel=0.1)


def test_recipes_are_paired_by_seed_and_image() -> None:
    rng = np.random.default_rng(1)
    table, boot = rng.normal(size=(3, 100)) + rng.normal(size=(3, 1)), PairedBootstrap(100, 300)
    a, b = (CrossedDraws(3, 300).of(boot.mean(t), t - t.mean(1, keepdims=True)) for t in (table + 0.25, table))
    np.testing.assert_allclose(a - b, 0.25)


def test_one_network_has_the_draws_of_its_images() -> None:
    table, boot = np.random.default_rng(2).normal(size=(1, 100)), PairedBootstrap(100, 300)
    np.testing.assert_allclose(CrossedDraws(1, 300).of(boot.mean(table), table - table.mean()), boot.mean(table)[0])


def test_values_of_sets_are_as_wide_as_the_means_of_images_that_all_networks_share() -> None:
    rng = np.random.default_rng(3)
    table = rng.normal(size=200) + rng.normal(scale=0.2, size=(3, 1))  # no interaction
    found = crossed_sets(table.mean(1), table.std(1, ddof=1) / 200**0.5, 200)
    expected = crossed_mean(table)
    # which are corrected for 200 images, and their skewness
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=5e-3)
    assert (found.unit, found.networks, found.images) == ("networks", 3, 200)
    own = crossed_sets(table[:1].mean(1), np.array([0.1]), 200)
    assert (own.high - own.mean, own.unit) == (pytest.approx(1.959964 * 0.1), "images")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(NumericsError, match="expected at least 1 of each"):
        CrossedDraws(0, 10)
    with pytest.raises(NumericsError, match=r"expected \(3, 11\)"):
        CrossedDraws(3, 10).of(np.ones((2, 11)), np.ones((2, 5)))
    with pytest.raises(NumericsError, match=r"expected \(3,\) and \(11,\)"):
        CrossedDraws(3, 10).of_sets(np.ones(2), np.ones(11))
    with pytest.raises(NumericsError, match=r"expected \(S,\) of both"):
        crossed_sets(np.ones(2), np.ones(3), 5)
    with pytest.raises(NumericsError, match="a coverage between 0 and 1"):
        crossed_sets(np.ones(2), np.ones(2), 5, level=1.0)
    with pytest.raises(NumericsError, match="a coverage between 0 and 1"):
        crossed(np.ones(2), np.ones((2, 5)), level=0.0)
