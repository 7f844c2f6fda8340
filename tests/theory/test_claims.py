"""What counts as a claim that holds."""

from __future__ import annotations

import math

import pytest
import torch

from tangency.theory.claims import Claim, mean_claim, ratio_claim, relative_error, slope


@pytest.mark.parametrize(
    ("relation", "expected", "measured", "tolerance", "holds"),
    [
        ("=", 1.0, 1.05, 0.1, True),
        ("=", 1.0, 0.85, 0.1, False),
        ("≤", 1.0, -5.0, 0.0, True),
        ("≤", 1.0, 1.2, 0.1, False),
        ("≥", 1.0, 7.0, 0.0, True),
        ("≥", 1.0, 0.8, 0.1, False),
        ("=", 0.0, math.nan, 1.0, False),
        ("≥", 0.0, math.inf, 1.0, False),
    ],
)
def test_a_claim_holds_within_its_tolerance(relation, expected, measured, tolerance, holds) -> None:
    claim = Claim("t", "c", "w", expected, measured, tolerance, relation)
    assert claim.passed is holds
    assert claim.to_json()["pass"] is holds


def test_a_mean_is_judged_by_its_standard_error() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert mean_claim("t", "c", "w", 0.0, values).passed
    assert not mean_claim("t", "c", "w", 0.06, values).passed
    assert mean_claim("t", "c", "w", 0.0, values).tolerance == pytest.approx(0.045, rel=0.05)


def test_a_ratio_is_judged_by_the_delta_method() -> None:
    generator = torch.Generator().manual_seed(1)
    below = 1 + torch.rand(5000, generator=generator, dtype=torch.float64)
    above = 0.5 * below + 0.1 * torch.randn(5000, generator=generator, dtype=torch.float64)
    claim = ratio_claim("t", "c", "w", 0.5, above, below)
    assert claim.passed
    assert claim.tolerance == pytest.approx(4.5 * 0.1 / 1.5 / math.sqrt(5000), rel=0.1)
    assert not ratio_claim("t", "c", "w", 0.51, above, below).passed


def test_slopes_and_errors_by_hand() -> None:
    assert slope([1.0, 2.0, 4.0], [3.0, 12.0, 48.0]) == pytest.approx(2.0)
    assert relative_error(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 4.0]])) == pytest.approx(0.75)
