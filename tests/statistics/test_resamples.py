"""Random weights made block by block: the same whatever is kept, exact totals, right law, flat memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tangency.errors import NumericsError
from tangency.statistics import Contrast, Estimate, Kappa, Mean, PairedBootstrap, Ratio, SignFlips


@given(st.integers(1, 5000), st.integers(1, 40))
def test_every_resample_has_as_many_images_as_there_are(images: int, replicates: int) -> None:
    counts = PairedBootstrap(images, replicates, seed=3).counts
    assert counts.shape == (1 + replicates, images)
    assert (counts.sum(1) == images).all()
    assert (counts[0] == 1).all()


def test_up_to_one_block_it_is_numpys_multinomial() -> None:
    expected = np.random.default_rng(5).multinomial(700, np.full(700, 1 / 700), size=9)
    assert np.array_equal(PairedBootstrap(700, 9, seed=5).counts[1:], expected)


def test_what_is_kept_between_questions_changes_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3000))
    values[0, ::7] = np.nan
    kept, streamed = PairedBootstrap(3000, 200), PairedBootstrap(3000, 200, kept=0)
    for _ in range(2):
        assert np.array_equal(kept.mean(values), streamed.mean(values), equal_nan=True)
    assert np.allclose(kept.sums(values), np.nan_to_num(values) @ kept.counts.T, rtol=1e-12)


def test_counts_across_blocks_have_the_multinomial_law() -> None:
    """Marginals are binomial(N, 1/N), and two images' counts have covariance −1/N, within a block and across."""
    images, replicates = 2500, 4000
    counts = PairedBootstrap(images, replicates, seed=1).counts[1:]
    observed = np.array([(counts[:, ::50] == k).sum() for k in range(5)] + [(counts[:, ::50] >= 5).sum()])
    law = stats.binom(images, 1 / images)
    expected = counts[:, ::50].size * np.array([*law.pmf(range(5)), law.sf(4)])
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 0.001
    halves = counts[:, :1024].sum(1), counts[:, 1024:2048].sum(1)
    share = 1024 / images
    for half in halves:
        assert half.var() == pytest.approx(images * share * (1 - share), rel=0.1)
    assert np.cov(*halves)[0, 1] == pytest.approx(-images * share**2, rel=0.2)


def test_many_images_agree_with_the_normal_interval() -> None:
    values = np.random.default_rng(2).exponential(size=20_000)
    found = Estimate.of(PairedBootstrap(20_000, 400, kept=0).mean(values), 20_000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(20_000), rel=0.15)


def test_memory_does_not_grow_with_the_images() -> None:
    def peak(images: int) -> int:
        values = np.ones(images)
        tracemalloc.start()
        PairedBootstrap(images, 200, kept=0).evaluate([Mean(values), Ratio(values, values)])
        SignFlips(images, 200, kept=0).accumulate(lambda where: values[where])
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(60_000) < 1.1 * peak(6000)


def test_one_pass_gives_what_each_question_gives_alone() -> None:
    rng = np.random.default_rng(4)
    fraction, rank, above = rng.random(1500), rng.integers(1, 9, 1500).astype(float), rng.random(1500)
    fraction[3], above[7] = np.nan, np.nan
    boot = PairedBootstrap(1500, 50)
    found = boot.evaluate([Mean(fraction), Ratio(above, rank), Kappa(fraction, rank, 20), Contrast(fraction, above)])
    both = np.isfinite(fraction) & np.isfinite(above)
    alone = [
        boot.mean(fraction),
        boot.pooled_ratio(above, rank),
        boot.pooled_kappa(fraction, rank, 20),
        boot.mean(np.where(both, fraction, np.nan)) - boot.mean(np.where(both, above, np.nan)),
    ]
    for one, other in zip(found, alone, strict=True):
        assert np.allclose(one, other, rtol=1e-10)
    assert boot.evaluate([]) == []


def test_signs_are_fair_and_pure() -> None:
    signs = np.concatenate([weights for _, weights in SignFlips(700, 500, seed=2).blocks()], axis=1)
    assert set(np.unique(signs[1:])) == {-1.0, 1.0}
    assert (signs[0] == 1).all()
    assert abs(signs[1:].mean()) < 4 / np.sqrt(500 * 700)
    again = np.concatenate([weights for _, weights in SignFlips(700, 500, seed=2, kept=0).blocks()], axis=1)
    assert np.array_equal(signs, again)


def test_values_of_another_number_of_images_are_refused() -> None:
    with pytest.raises(NumericsError, match="got values of 5 images, expected those of 4"):
        PairedBootstrap(4, 5).mean(np.ones(5))
    with pytest.raises(NumericsError, match="at least 1"):
        SignFlips(0, 5)
    with pytest.raises(NumericsError, match="at least 1"):
        PairedBootstrap(5, 0)


def test_one_image_has_an_interval_of_width_zero() -> None:
    found = Estimate.of(PairedBootstrap(1, 20).mean(np.array([0.3])), 1)
    assert (found.mean, found.low, found.high) == (0.3, 0.3, 0.3)
