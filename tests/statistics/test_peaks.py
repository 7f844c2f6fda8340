"""Interior peaks: a hand-computed t, the null of the critical value, and false peaks and power by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tangency.errors import NumericsError
from tangency.evaluate.entries import to_json
from tangency.statistics import interior_peak, shared_image_covariance
from tangency.statistics.peaks import critical_value
from tangency.statistics.resamples import Array

STRENGTHS = np.array([0, 0.03, 0.1, 0.3, 1, 3, 10])
FLAT = np.zeros(7)
PLATEAUS = [
    pytest.param(np.array([-100.0, 0, 0, 0, 0, 0, 0]), id="at once"),
    pytest.param(np.array([-10.0, 0, 0, 0, 0, 0, 0]), id="near"),
    pytest.param(np.array([-100.0, -60, -20, 0, 0, 0, 0]), id="later"),
]
PEAK = np.array([-60.0, -45, -30, -15, 0, 15, 0])


def simulated(
    mu: Array, networks: int, sds: float | Array, share: float, repetitions: int, seed: int = 0
) -> tuple[Array, Array]:
    """Means over images of networks, (R, m, S), image standard error 1, and the covariance that networks share.

    `share` of the image variance is common to networks: half of it to all strengths as well, half to one strength.
    """
    rng = np.random.default_rng(seed)
    m = len(mu)
    sds = np.broadcast_to(sds, m)[:, None]
    values = mu[:, None] + np.sqrt(sds**2 + 1 - share) * rng.normal(size=(repetitions, m, networks))
    common = rng.normal(size=(repetitions, m, 1)) + rng.normal(size=(repetitions, 1, 1))
    return values + math.sqrt(share / 2) * common, share / 2 * (np.eye(m) + 1)


def shown(mu: Array, networks: int, sds: float | Array, share: float, repetitions: int) -> float:
    values, images = simulated(mu, networks, sds, share, repetitions)
    return float(np.mean([interior_peak(each, STRENGTHS, images).shown for each in values]))


def split_shows(mu: Array, networks: int, ratio: float, share: float, repetitions: int) -> float:
    """The wrong rule: the peak is chosen on half of the images, its image intervals are of the other half."""
    rng = np.random.default_rng(0)
    of_networks = ratio * rng.normal(size=(repetitions, len(mu), networks)).mean(2)
    variance = 2 * (share / 2 + (1 - share) / networks)  # over half of the images, of the mean of the networks
    choose, test = mu + of_networks + math.sqrt(variance) * rng.normal(size=(2, repetitions, len(mu)))
    best = 1 + choose[:, 1:-1].argmax(1)
    rise = test[np.arange(repetitions), best][:, None] - test[:, [0, -1]]
    return float((rise > 1.96 * math.sqrt(2 * variance)).all(1).mean())


def test_t_is_the_smaller_one_with_the_larger_of_own_and_mean_variance() -> None:
    values = np.array([[0.0, 2, 4], [9, 10, 11], [4, 5, 6]])  # variances 4, 1, 1; their mean 2
    result = interior_peak(values, np.array([0.0, 1, 2]))
    assert_allclose(result.t, min((10 - 2) / math.sqrt((2 + 4) / 3), (10 - 5) / math.sqrt((2 + 2) / 3)))
    assert (result.peak.strength, [end.strength for end in result.ends]) == (1.0, [0.0, 2.0])
    half = 4.302652729696 / math.sqrt(3)  # t of 2 degrees of freedom
    assert_allclose([result.peak.low, result.peak.high], [10 - half, 10 + half])
    assert_allclose([result.ends[0].low, result.ends[0].high], [2 - 2 * half, 2 + 2 * half])
    assert result.ends[0].each == (0.0, 2.0, 4.0)
    assert result.reason is None


def test_the_critical_value_is_that_of_the_hardest_null_counted_one_curve_at_a_time() -> None:
    rng = np.random.default_rng(5)
    exceeds = [0, 0]
    for _ in range(4000):
        curve = rng.normal(size=(5, 4))
        for i, first in enumerate((0.0, -1e6)):  # flat, and a rise at once
            values = curve + np.array([first, 0, 0, 0, 0])[:, None]
            means, own = values.mean(1), values.var(1, ddof=1)
            used = [max(v, own.mean()) for v in own]
            t = [min((means[k] - means[e]) / math.sqrt((used[k] + used[e]) / 4) for e in (0, 4)) for k in (1, 2, 3)]
            exceeds[i] += max(t) > critical_value(5, 4)
    assert exceeds[0] < 0.03 * 4000
    assert 0.04 < exceeds[1] / 4000 < 0.06


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_shown_and_p_agree(level: float) -> None:
    values, images = simulated(PEAK, 4, 6, 0.5, 60)
    results = [interior_peak(each, STRENGTHS, images, level) for each in values]
    assert {each.shown for each in results} == {True, False}
    for each in results:
        assert each.shown == (each.t > each.critical) == (each.p < 1 - level)


def test_the_critical_value_is_seeded_grows_with_strengths_and_falls_with_networks() -> None:
    from tangency.statistics.peaks import _null

    before = critical_value(7, 5)
    _null.cache_clear()
    assert critical_value(7, 5) == before
    assert critical_value(6, 5) < before < critical_value(9, 5)
    assert critical_value(7, 3) > before > critical_value(7, 10) > critical_value(7, 10, 0.9)


def test_the_largest_strength_or_the_first_is_no_interior_peak() -> None:
    noise = np.random.default_rng(0).normal(size=(7, 5))
    for curve in (np.arange(7.0), -np.arange(7.0)):
        result = interior_peak(100 * curve[:, None] + noise, STRENGTHS)
        assert not result.shown
        assert result.t < 0
        assert result.p > 0.9


@pytest.mark.parametrize("networks", [1, 2])
def test_below_three_networks_nothing_is_tested(networks: int) -> None:
    result = interior_peak(PEAK[:, None] + np.arange(float(networks)), STRENGTHS)
    assert not result.shown
    assert np.isnan([result.t, result.critical, result.p, result.peak.low, result.ends[1].high]).all()
    assert result.reason == f"{networks} network{'s' * (networks > 1)} a strength: at least 3 are needed"
    assert (result.peak.strength, result.peak.mean) == (3.0, 15 + (networks - 1) / 2)
    assert to_json(result)["p"] is None


@pytest.mark.parametrize("unit", [1.0, 0.03])  # the variance of five times 0.45 is 3e-33
def test_copies_of_one_network_show_nothing(unit: float) -> None:
    result = interior_peak(np.repeat(unit * PEAK[:, None], 5, 1), STRENGTHS)
    assert not result.shown
    assert result.reason is not None
    assert "copies" in result.reason


def test_images_that_move_all_strengths_alike_cancel_and_others_do_not() -> None:
    values = simulated(PEAK, 5, 2, 0.0, 1)[0][0]
    alone, common, single = (
        interior_peak(values, STRENGTHS, images) for images in (None, np.full((7, 7), 9.0), 9 * np.eye(7))
    )
    assert common.t == alone.t > single.t
    assert common.peak.high - common.peak.low > alone.peak.high - alone.peak.low


def test_without_network_spread_over_strengths_the_image_part_alone_is_a_normal_test() -> None:
    values = 1e-6 * np.random.default_rng(0).normal(size=(7, 5)) + PEAK[:, None]
    result = interior_peak(values, STRENGTHS, 8 * np.eye(7))
    assert_allclose(result.t / result.critical, 15 / 4 / 2.3263478740, rtol=1e-5)  # Φ⁻¹(1 − .05/5)


def test_the_shared_image_covariance_is_free_of_what_images_do_to_single_networks() -> None:
    rng = np.random.default_rng(3)
    root = np.array([[2.0, 0, 0], [0.5, 1, 0], [0, -1, 1]])
    estimates = []
    for _ in range(600):
        shared = (root @ rng.normal(size=(3, 20)))[:, None]
        single = 2 * rng.normal(size=(3, 4, 20)) + 3 * rng.normal(size=(1, 4, 20))  # the second common to a seed
        estimates.append(20 * shared_image_covariance(shared + single + rng.normal(size=(3, 4, 1))))
    error = np.std(estimates, axis=0) / math.sqrt(600)
    assert (np.abs(np.mean(estimates, axis=0) - root @ root.T) < 4 * error).all()
    assert (error < 0.15).all()


def test_the_shared_image_covariance_leaves_images_without_a_value_out() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 9))
    values[1, 2, 5] = np.nan
    assert_allclose(shared_image_covariance(values), shared_image_covariance(np.delete(values, 5, axis=2)))
    influence = values - np.nanmean(np.delete(values, 5, axis=2), axis=2, keepdims=True)
    assert_allclose(shared_image_covariance(influence), shared_image_covariance(values))
    values[0, 0, 1:] = np.nan
    with pytest.raises(NumericsError, match=r"got \(3, 4, 1\) usable values, expected"):
        shared_image_covariance(values)


@pytest.mark.parametrize(
    ("values", "strengths", "images", "message"),
    [
        (np.zeros((2, 3)), np.arange(2.0), None, "got 2 strengths, expected 3 or more"),
        (np.zeros(3), np.arange(3.0), None, r"got values \(3,\) for strengths \(3,\)"),
        (np.zeros((3, 4)), np.array([0.0, 2, 2]), None, "ascending ones, each once"),
        (np.full((3, 4), np.nan), np.arange(3.0), None, "a finite value of each network"),
        (np.zeros((3, 4)), np.arange(3.0), np.eye(4), r"got images \(4, 4\), expected \(3, 3\)"),
    ],
)
def test_what_does_not_fit_is_named(values: Array, strengths: Array, images: Array | None, message: str) -> None:
    with pytest.raises(NumericsError, match=message):
        interior_peak(values, strengths, images)


@pytest.mark.parametrize("mu", [FLAT, PLATEAUS[0].values[0]], ids=["flat", "plateau"])
def test_few_false_peaks(mu: Array) -> None:
    assert shown(mu, 5, 2, 0.5, 400) <= 0.085  # 3.5 standard errors above .05


@pytest.mark.slow
@pytest.mark.parametrize("networks", [3, 5, 10])
@pytest.mark.parametrize("mu", [pytest.param(FLAT, id="flat"), *PLATEAUS])
def test_false_peaks_with_equal_spreads(mu: Array, networks: int) -> None:
    rates = {(ratio, share): shown(mu, networks, ratio, share, 2500) for ratio in (0, 2, 6) for share in (0, 0.5, 0.9)}
    print(f"false peaks, S = {networks}, (ratio, share): {rates}")
    assert max(rates.values()) <= 0.065


UNEQUAL = {
    "ascending": np.geomspace(1, 8, 7),
    "descending": np.geomspace(8, 1, 7),
    "last": np.array([1.0, 1, 1, 1, 1, 1, 8]),
    "one within": np.array([1.0, 1, 1, 8, 1, 1, 1]),
    "two within and the last": np.array([1.0, 8, 1, 8, 1, 1, 8]),
    "every other": np.array([1.0, 8, 1, 8, 1, 8, 1]),
    "all within": np.array([1.0, 8, 8, 8, 8, 8, 1]),
    "all but the last": np.array([8.0, 8, 8, 8, 8, 8, 1]),
}


@pytest.mark.slow
@pytest.mark.parametrize("networks", [3, 5, 10])
@pytest.mark.parametrize("sds", UNEQUAL.values(), ids=UNEQUAL)
def test_false_peaks_with_eightfold_spreads(sds: Array, networks: int) -> None:
    rates = [shown(mu, networks, 2 * sds, 0.5, 2000) for mu in (FLAT, PLATEAUS[0].values[0], PLATEAUS[2].values[0])]
    print(f"false peaks, S = {networks}, sds {sds}, flat and two plateaus: {rates}")
    assert max(rates) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_power(share: float) -> None:
    rates = [shown(PEAK, networks, 6, share, 2000) for networks in (5, 10)]
    print(f"power at S = 5 and 10, share {share}: {rates}")
    assert rates[0] >= 0.8
    assert rates[1] >= 0.98


@pytest.mark.slow
def test_networks_of_one_seed_that_resemble_each_other_make_the_test_more_careful() -> None:
    rng = np.random.default_rng(4)
    mu = PLATEAUS[0].values[0]
    values, images = simulated(mu, 5, math.sqrt(8), 0.5, 2000)
    alike = values - mu[:, None] + math.sqrt(8) * rng.normal(size=(2000, 1, 5)) + mu[:, None]
    rate = np.mean([interior_peak(each, STRENGTHS, images).shown for each in alike])
    print(f"false peaks where networks of a seed are alike: {rate}")
    assert rate <= 0.05


@pytest.mark.parametrize("networks", [3, 5, 10])
def test_a_split_of_the_images_shows_peaks_of_plateaus(networks: int) -> None:
    mu = PLATEAUS[0].values[0]
    assert split_shows(mu, networks, 2, 0, 4000) >= 0.2  # images that networks share widen its intervals:
    assert min(split_shows(mu, networks, 6, share, 4000) for share in (0, 0.5, 0.9)) >= 0.3


@pytest.mark.slow
def test_with_the_covariance_estimated_from_the_images_themselves() -> None:
    rng = np.random.default_rng(6)
    mu, n, shows = PLATEAUS[0].values[0], 150, []
    for _ in range(2000):
        skewed = rng.exponential(size=(7, 1, n)) + rng.exponential(size=(1, 1, n)) + rng.exponential(size=(7, 5, n)) / 2
        values = mu[:, None, None] + math.sqrt(n) * (skewed - 2.5) + 2 * rng.normal(size=(7, 5, 1))
        shows.append(interior_peak(values.mean(2), STRENGTHS, shared_image_covariance(values)).shown)
    print(f"false peaks with an estimated covariance: {np.mean(shows)}")
    assert np.mean(shows) <= 0.065
