"""Medians of resamples: numpy's own of every resample written out, with gaps and ties, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tangency.statistics import Estimate, Mean, Median, PairedBootstrap, SignFlips, pair_dz, swap_p
from tangency.statistics.median import medians
from tangency.statistics.resamples import Blocks


def written_out(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The median of each image's value as often as it was drawn, (1 + B,)."""
    finite = np.isfinite(values)
    rows = (np.repeat(values[finite], row[finite].astype(int)) for row in counts)
    return np.array([np.median(row) if len(row) else np.nan for row in rows])


@pytest.mark.parametrize("n", [1, 2, 3, 10, 101, 1500])  # within a block of images, and over two
@pytest.mark.parametrize("kind", ["distinct", "ties", "gaps"])
def test_draws_are_numpys_medians_of_the_resamples_written_out(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    values = rng.standard_cauchy(n)
    if kind == "ties":
        values = np.round(values)
    if kind == "gaps":
        values[rng.random(n) < 0.3] = np.nan
        values[rng.random(n) < 0.1] = np.inf  # no number either
    boot = PairedBootstrap(n, 300)
    (draws,) = boot.evaluate([Median(values)])
    np.testing.assert_array_equal(draws, written_out(values, boot.counts))


def test_they_are_paired_with_the_means_of_the_same_call_and_keep_their_order() -> None:
    values = np.random.default_rng(0).normal(size=(3, 40))
    boot = PairedBootstrap(40, 200)
    draws = boot.evaluate([Mean(values[0]), Median(values[1]), Mean(values[1]), Median(values[2])])
    np.testing.assert_allclose(draws[2], boot.mean(values[1]))
    np.testing.assert_allclose(draws[0], boot.mean(values[0]))
    np.testing.assert_array_equal(draws[3], written_out(values[2], boot.counts))
    shifted = boot.evaluate([Median(values[1] + 1), Median(values[1])])
    np.testing.assert_allclose(shifted[0] - shifted[1], 1)


class _Far(Blocks):
    """Resamples that hold one image alone: their medians lie anywhere, also outside the window that is held first."""

    def make(self, number: int, size: int) -> np.ndarray:
        start = number * self.block
        return (np.arange(self.rows)[:, None] == np.arange(start, start + size)).astype(float)


def test_a_resample_whose_median_is_far_off_is_exact_too() -> None:
    values = np.random.default_rng(0).normal(size=2500)
    (draws,) = medians(_Far(2500, 2500), [values])
    np.testing.assert_array_equal(draws[1:], values)
    assert draws[0] == np.median(values)


def test_memory_does_not_grow_with_the_number_of_images_as_the_counts_do() -> None:
    n, replicates = 20_000, 400
    boot = PairedBootstrap(n, replicates, kept=0)
    values = np.random.default_rng(0).normal(size=n)
    tracemalloc.start()
    boot.evaluate([Median(values)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * n * replicates / 3  # a third of all counts


def test_no_value_is_no_number_and_the_interval_covers_the_median() -> None:
    nothing = PairedBootstrap(5, 20).evaluate([Median(np.full(5, np.nan))])[0]
    assert np.isnan(nothing).all()
    rng = np.random.default_rng(1)
    boot, held = PairedBootstrap(201, 400), 0
    for _ in range(300):
        (draws,) = boot.evaluate([Median(rng.exponential(size=201))])
        estimate = Estimate.of(draws, 201)
        held += estimate.low <= np.log(2) <= estimate.high
    assert 0.91 <= held / 300 <= 0.985


@pytest.mark.parametrize("n", [2, 3, 8, 9])
def test_the_median_without_each_image(n: int) -> None:
    rng = np.random.default_rng(n)
    for values in (rng.normal(size=n), np.round(rng.normal(size=n)), np.zeros(n)):
        gap = np.append(values, np.nan)
        expected = [np.median(np.delete(values, i)) for i in range(n)]
        found = Median(gap).leave_one_out()
        np.testing.assert_allclose(found[:-1], expected)
        assert np.isnan(found[-1])


def test_two_medians_are_tested_by_the_shares_above_their_joint_median() -> None:
    """Under no difference p is uniform; a shift of one median is found, and dz is that of the indicators."""
    rng = np.random.default_rng(3)
    flips = SignFlips(60, 999)
    null = [swap_p(flips, [(Median(rng.normal(size=60)), Median(rng.normal(size=60)))])[0] for _ in range(200)]
    assert np.mean(np.array(null) <= 0.05) <= 0.09
    hard = rng.standard_cauchy(60)
    a, b = hard + 2 + 0.1 * rng.normal(size=60), hard
    assert swap_p(flips, [(Median(a), Median(b))])[0] <= 0.01
    joint = np.median(np.concatenate([a, b]))
    difference = (a > joint).astype(float) - (b > joint)
    assert pair_dz(Median(a), Median(b)) == pytest.approx(difference.mean() / difference.std(ddof=1))
