"""Permutation tests against scipy, exact enumeration and exact tests; their error rates; Holm."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tangency.errors import NumericsError
from tangency.statistics import Contrast, Kappa, Mean, Pooled, Ratio, SignFlips, flip_p, holm, matching_p, swap_p
from tangency.statistics.permutation import permutation_p


def test_flipping_signs_equals_scipys_permutation_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, 40), rng.normal(size=40)
    theirs = stats.permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    (found,) = flip_p(SignFlips(40, 20_000), [Contrast(a, b)])
    assert found == pytest.approx(theirs.pvalue, abs=0.01)
    assert 0.01 < found < 0.5


@pytest.mark.parametrize("kind", ["mean", "ratio", "kappa"])
def test_swapping_pairs_equals_trying_every_swap(kind: str) -> None:
    rng = np.random.default_rng(3)
    n = 9
    sides = [(rng.random(n) + shift, rng.integers(1, 4, n).astype(float)) for shift in (0.0, 0.25)]

    def made(first: np.ndarray, second: np.ndarray) -> Pooled:
        kinds = {"mean": Mean(first), "ratio": Ratio(first, second), "kappa": Kappa(first, second, 7)}
        return kinds[kind]

    def difference(swapped: np.ndarray) -> float:
        columns = [
            [np.where(swapped, other, own) for own, other in zip(*pair, strict=True)] for pair in (sides, sides[::-1])
        ]
        both = [made(*column) for column in columns]
        return float(np.subtract(*[s.value(s.parts().sum(1)) for s in both]))

    every = np.array([difference(np.array(swap)) for swap in itertools.product([False, True], repeat=n)])
    exact = (np.abs(every) >= abs(every[0]) - 1e-12).mean()
    (found,) = swap_p(SignFlips(n, 20_000), [(made(*sides[0]), made(*sides[1]))])
    assert found == pytest.approx(exact, abs=0.012)
    assert 0.005 < exact < 0.6


def test_of_accuracies_it_is_mcnemars_exact_test() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.random(300) < 0.8).astype(float), (rng.random(300) < 0.74).astype(float)
    wins, losses = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    exact = stats.binomtest(wins, wins + losses).pvalue
    (found,) = swap_p(SignFlips(300, 20_000), [(Mean(a), Mean(b))])
    assert found == pytest.approx(exact, abs=0.01)


def test_images_without_a_pair_are_left_out() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.5, 1, 30), rng.normal(size=30)
    holes = np.append(a, [np.nan, 5.0]), np.append(b, [7.0, np.nan])
    flips = SignFlips(32, 999)
    (with_holes,) = swap_p(flips, [(Mean(holes[0]), Mean(holes[1]))])
    (without,) = swap_p(flips, [(Mean(np.append(a, [0.0, 0.0])), Mean(np.append(b, [0.0, 0.0])))])
    assert with_holes == pytest.approx(without, abs=0.02)
    nothing = np.full(32, np.nan)
    assert np.isnan(flip_p(flips, [Contrast(nothing, nothing)])).all()
    assert np.isnan(swap_p(flips, [(Mean(nothing), Mean(nothing))])).all()
    assert flip_p(flips, []) == swap_p(flips, []) == []


def test_the_same_model_twice_has_p_one() -> None:
    a = np.random.default_rng(0).normal(size=50)
    assert swap_p(SignFlips(50, 99), [(Mean(a), Mean(a)), (Ratio(a, a + 9), Ratio(a, a + 9))]) == [1.0, 1.0]
    assert flip_p(SignFlips(50, 99), [Contrast(a, a)]) == [1.0]


def test_p_is_never_zero_and_a_clear_difference_is_the_smallest_p() -> None:
    values = np.random.default_rng(0).normal(3, 1, 200)
    assert flip_p(SignFlips(200, 999), [Contrast(values, np.zeros(200))]) == [1 / 1000]


def test_p_values_of_true_nulls_are_uniform() -> None:
    rng = np.random.default_rng(5)
    p = []
    for seed in range(400):
        hard = rng.exponential(size=60)
        a, b = hard * rng.exponential(size=60), hard * rng.exponential(size=60)
        flips = SignFlips(60, 199, seed)
        p.append([*flip_p(flips, [Contrast(a, b)]), *swap_p(flips, [(Ratio(a, hard), Ratio(b, hard))])])
    for column in np.array(p).T:
        assert stats.kstest(column, "uniform").pvalue > 0.001
        assert 0.02 <= (column <= 0.05).mean() <= 0.085


def test_matching_equals_scipys_pairings() -> None:
    rng = np.random.default_rng(6)
    g, s = rng.normal(size=(25, 6)), rng.normal(size=(25, 6))
    s += 0.15 * g
    similarity = g @ s.T
    order = np.arange(25.0)
    theirs = stats.permutation_test(
        (order,),
        lambda index: similarity[np.arange(25), index.astype(int)].mean(),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=5000,
        vectorized=False,
        rng=np.random.default_rng(7),
    )
    assert matching_p(similarity, 5000) == pytest.approx(theirs.pvalue, abs=0.02)
    holes = np.pad(similarity, (0, 1), constant_values=np.nan)
    assert matching_p(holes, 5000) == matching_p(similarity, 5000)
    assert np.isnan(matching_p(np.ones((1, 1))))
    with pytest.raises(NumericsError, match=r"expected \(N, N\)"):
        matching_p(np.ones((2, 3)))


def test_unknown_permutations_never_make_p_smaller() -> None:
    assert permutation_p(np.array([1.0, np.nan, 0.0, 2.0])) == 3 / 4
    assert permutation_p(np.array([-2.0, 1.0, 0.0, 3.0]), "two-sided") == 2 / 4
    assert np.isnan(permutation_p(np.array([np.nan, 1.0])))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_as_the_step_down_procedure_does(p: list[float]) -> None:
    adjusted = holm(p)
    order = np.argsort(p, kind="stable")
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, index in enumerate(order):
            if p[index] * (len(p) - step) > level:
                break
            rejected.add(int(index))
        assert {i for i in range(len(p)) if adjusted[i] <= level} == rejected
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= 1).all()


def test_holm_keeps_the_error_of_the_family_and_skips_what_was_not_tested() -> None:
    rng = np.random.default_rng(8)
    wrong = np.mean([(holm(rng.random(10)) <= 0.05).any() for _ in range(2000)])
    assert 0.03 <= wrong <= 0.065
    assert holm([np.nan, 0.02, 0.03])[1:].tolist() == [0.04, 0.04]
    assert np.isnan(holm([np.nan, 0.02])[0])
    with pytest.raises(NumericsError, match="probabilities"):
        holm([1.2])
