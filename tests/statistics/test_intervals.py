"""BCa against scipy and brute force; jackknife values in closed form; coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tangency.statistics import Contrast, Estimate, Kappa, Mean, PairedBootstrap, Pooled, Ratio
from tangency.statistics.intervals import acceleration, bca_interval, percentile_interval

N = 12


def value_of(statistic: Pooled) -> float:
    return float(statistic.value(statistic.parts().sum(1)))


def statistics(seed: int) -> list[Pooled]:
    rng = np.random.default_rng(seed)
    a, b, rank = rng.random(N), rng.random(N) + 0.1, rng.integers(1, 5, N).astype(float)
    a[seed % N] = np.nan
    return [Mean(a), Contrast(a, b, (rng.random(N),)), Ratio(a, b), Kappa(a, rank, 9)]


@given(st.integers(0, 10_000))
def test_leaving_one_out_equals_doing_so(seed: int) -> None:
    for statistic in statistics(seed):
        found = statistic.leave_one_out()
        for i in range(N):
            if not statistic.usable()[i]:
                assert np.isnan(found[i])
                continue
            without = value_of(statistic.among(np.arange(N) != i))
            assert found[i] == pytest.approx(without, rel=1e-10)


def test_acceleration_of_a_mean_is_a_sixth_of_its_standard_error_skewness() -> None:
    values = np.random.default_rng(1).exponential(size=200)
    assert acceleration(Mean(values).leave_one_out()) == pytest.approx(stats.skew(values) / (6 * np.sqrt(200)))
    assert np.isnan(acceleration(Mean(np.ones(5)).leave_one_out()))
    assert np.isnan(acceleration(np.full(3, np.nan)))


@pytest.mark.parametrize("pooled", [False, True])
def test_bca_equals_scipys(pooled: bool) -> None:
    rng = np.random.default_rng(2)
    above, below = rng.exponential(size=60), rng.random(60) + 0.2
    own: Pooled = Ratio(above, below) if pooled else Mean(above)
    data = (above, below) if pooled else (above,)

    def statistic(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        return samples[0].sum(axis) / samples[1].sum(axis) if pooled else samples[0].mean(axis)

    theirs = stats.bootstrap(
        data, statistic, paired=True, vectorized=True, n_resamples=20_000, method="BCa", rng=np.random.default_rng(3)
    ).confidence_interval
    (draws,) = PairedBootstrap(60, 20_000).evaluate([own])
    found = bca_interval(draws, own.leave_one_out())
    width = theirs.high - theirs.low
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)
    assert abs(percentile_interval(draws)[1] - theirs.high) > 0.03 * width  # so that the comparison means something


def test_bca_is_the_percentile_interval_where_nothing_can_be_corrected() -> None:
    draws = np.append(0.0, np.random.default_rng(0).random(50) + 1)  # every replicate lies above the estimate
    assert bca_interval(draws, np.arange(9.0)) == percentile_interval(draws)
    level = np.append(2.0, np.full(20, 2.0))
    assert bca_interval(level, np.full(5, 2.0)) == (2.0, 2.0)
    nothing = Estimate.of(np.full(11, np.nan), 0, 4, leave_one_out=np.full(4, np.nan))
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()


def test_bca_covers_a_skewed_mean_as_it_says() -> None:
    rng = np.random.default_rng(4)
    boot = PairedBootstrap(60, 800)
    held = []
    for values in rng.exponential(size=(600, 60)):
        found = Estimate.of(boot.mean(values), 60, leave_one_out=Mean(values).leave_one_out())
        held.append(found.low <= 1 <= found.high)
    assert 0.91 <= np.mean(held) <= 0.97
