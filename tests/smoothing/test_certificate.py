"""What votes prove: bounds against scipy's, error rates by exact simulation, and too few draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tangency.errors import NumericsError
from tangency.smoothing import (
    ABSTAIN,
    certificate,
    certificate_draws,
    lower_bound,
    prediction,
    prediction_draws,
)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("n", [1, 17, 1000])
def test_the_bound_is_clopper_and_pearsons(n, alpha):
    found = lower_bound(torch.arange(n + 1), n, alpha)
    for k in range(0, n + 1, max(1, n // 9)):
        wanted = stats.binomtest(k, n).proportion_ci(1 - 2 * alpha, "exact").low
        assert float(found[k]) == pytest.approx(wanted, abs=1e-12)
    assert float(found[n]) == pytest.approx(alpha ** (1 / n), rel=1e-12)


def test_the_test_of_prediction_is_scipys():
    rng = np.random.default_rng(0)
    votes = torch.tensor(rng.multinomial(60, [0.45, 0.35, 0.2], size=200))
    found = prediction(votes, 0.05)
    for row, answer in zip(votes.tolist(), found.tolist(), strict=True):
        first, second = sorted(row)[::-1][:2]
        answers = stats.binomtest(first, first + second).pvalue <= 0.05
        assert answer == (int(np.argmax(row)) if answers else ABSTAIN)
    assert 20 < int((found == ABSTAIN).sum()) < 180, "the test needs both answers and abstentions"


@pytest.mark.parametrize("radius", [0.02, 0.3, 0.9])
def test_certified_radii_exceed_the_true_one_no_more_often_than_alpha(radius):
    """A linear classifier at distance R from its border has P(right vote) = Φ(R/σ), and the smoothed one radius R."""
    runs, n0, n, alpha, sigma = 10_000, 100, 1000, 0.05, 0.5
    p = stats.norm.cdf(radius / sigma)
    rng = np.random.default_rng(1)

    def votes(size):
        right = rng.binomial(size, p, runs)
        return torch.tensor(np.stack([right, size - right], 1))

    found = certificate(votes(n0), votes(n), sigma, n, alpha)
    wrong = (found.classes == 1) | (found.radius > radius)
    errors = int(wrong.sum())
    assert stats.binomtest(errors, runs, alpha, alternative="greater").pvalue > 0.001
    # and the bound is not idle: near alpha where nothing is lost in selection or abstention
    if radius == 0.3:
        assert errors > 0.6 * alpha * runs
        assert float(found.radius.mean()) > 0.8 * radius
    assert bool((found.radius[found.classes == ABSTAIN] == 0).all())


def test_a_radius_that_is_too_large_would_be_noticed():
    """The same simulation with the plain share of votes in place of its bound is rejected."""
    runs, n, sigma, radius = 10_000, 1000, 0.5, 0.3
    right = np.random.default_rng(1).binomial(n, stats.norm.cdf(radius / sigma), runs)
    errors = int((sigma * stats.norm.ppf(right / n) > radius).sum())
    assert stats.binomtest(errors, runs, 0.05, alternative="greater").pvalue < 1e-6


def test_predictions_are_wrong_no_more_often_than_alpha():
    runs, n, alpha, p = 10_000, 200, 0.05, 0.52
    right = np.random.default_rng(2).binomial(n, p, runs)
    found = prediction(torch.tensor(np.stack([right, n - right], 1)), alpha)
    errors = int((found == 1).sum())
    assert stats.binomtest(errors, runs, alpha, alternative="greater").pvalue > 0.001


def test_radius_and_abstention_of_known_votes():
    votes = torch.tensor([[1000, 0, 0], [0, 500, 500], [0, 0, 0]])
    found = certificate(votes, votes, 0.25, 1000, 0.001)
    assert found.classes.tolist() == [0, ABSTAIN, ABSTAIN]
    assert float(found.radius[0]) == pytest.approx(0.25 * stats.norm.ppf(0.001 ** (1 / 1000)), rel=1e-9)
    assert found.radius[1:].tolist() == [0, 0]
    assert float(found.lower[2]) == 0


@pytest.mark.parametrize("alpha", [0.4, 0.05, 0.001, 2.0**-5])
def test_the_fewest_draws_are_the_fewest(alpha):
    n = certificate_draws(alpha)
    assert float(lower_bound(torch.tensor(n), n, alpha)) > 0.5
    assert n == 1 or float(lower_bound(torch.tensor(n - 1), n - 1, alpha)) <= 0.5 + 1e-12
    n = prediction_draws(alpha)
    assert prediction(torch.tensor([[n, 0]]), alpha).item() == 0
    assert prediction(torch.tensor([[n - 1, 0]]), alpha).item() == ABSTAIN


def test_too_few_draws_and_wrong_arguments_are_named():
    votes = torch.tensor([[5, 4]])
    with pytest.raises(NumericsError, match="always abstains, expected n of at least 10"):
        certificate(votes, votes, 0.5, 9, 0.001)
    with pytest.raises(NumericsError, match="alpha"):
        certificate(votes, votes, 0.5, 9, 0.0)
    with pytest.raises(NumericsError, match="0 … 9"):
        lower_bound(torch.tensor([10]), 9, 0.05)
    with pytest.raises(NumericsError, match=r"\(N, classes\)"):
        prediction(torch.tensor([5, 4]), 0.05)
    assert math.isfinite(float(lower_bound(torch.tensor(1), 10**6, 1e-9)))
