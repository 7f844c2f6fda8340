"""Ranks from spectra, and orthonormal bases from columns that depend on each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangency.errors import SpecError
from tangency.tangents.spectrum import choose_rank, orthonormal, parse_rank


def columns(n: int, d: int, values: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, d, k) with known singular values, and their left singular vectors."""
    generator = torch.Generator().manual_seed(seed)
    k = len(values)
    left = torch.linalg.qr(torch.randn(n, d, k, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(n, k, k, generator=generator, dtype=torch.float64)).Q
    return (left * values) @ right.mT, left


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_bases_are_orthonormal_down_to_small_singular_values(scale: float) -> None:
    values = torch.logspace(0, -6, 12, dtype=torch.float64)
    wide, left = columns(4, 50, values)
    basis, lengths = orthonormal(scale * wide)
    torch.testing.assert_close(
        basis.mT @ basis, torch.eye(12, dtype=torch.float64).expand(4, 12, 12), atol=1e-11, rtol=0
    )
    torch.testing.assert_close(lengths, scale * values.expand(4, -1), rtol=1e-4, atol=0)
    assert float((basis * left).sum(1).abs().min()) > 1 - 1e-6  # each in its place, up to sign


def test_columns_that_repeat_give_zero_vectors() -> None:
    wide, _ = columns(2, 30, torch.tensor([1.0, 0.5], dtype=torch.float64))
    basis, lengths = orthonormal(torch.cat([wide, wide], 2))
    assert int((lengths > 1e-7).sum()) == 4
    assert not basis[:, :, 2:].any()
    assert not orthonormal(torch.zeros(1, 5, 3))[0].any()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_a_clear_gap_is_found_by_every_rule_of_gaps(rank: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    large, small = 1 + torch.rand(rank, generator=generator), 0.001 * torch.rand(10 - rank, generator=generator) + 0.001
    spectrum = torch.cat([large, small]).sort(descending=True).values[None]
    for rule in ("gap", "drop", "damped"):
        assert choose_rank(spectrum, rule, 9).item() == rank
    assert choose_rank(spectrum, "relative", 9, 0.1).item() == rank


def test_the_damped_gap_is_fooled_neither_by_noise_nor_by_one_large_value() -> None:
    noise = torch.tensor([[5.0, 4.0, 3.0, 0.5, 0.4, 0.01]])  # its largest ratio stands in the noise
    large = torch.tensor([[9.0, 4.0, 3.9, 1.0, 0.9, 0.8]])  # its largest difference is the first
    found = {
        rule: [choose_rank(spectrum, rule, 5, 0.1).item() for spectrum in (noise, large)]
        for rule in ("gap", "drop", "damped")
    }
    assert found == {"gap": [5, 3], "drop": [3, 1], "damped": [3, 3]}
    assert choose_rank(noise, "damped", 5, 0.0).item() == 5


def test_ranks_of_numbers_limits_and_spectra_of_zeros() -> None:
    spectrum = torch.tensor([[4.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    assert choose_rank(spectrum, 3, 3).tolist() == [2, 0]  # no more than there are
    assert choose_rank(spectrum, "gap", 1).tolist() == [1, 0]
    assert choose_rank(spectrum, "participation", 3).tolist() == [2, 0]  # 36/20


def test_a_rank_is_a_number_or_a_rule() -> None:
    assert (parse_rank("12"), parse_rank("gap")) == (12, "gap")
    for wrong in ("0", "-1", "1.5", "gaps"):
        with pytest.raises(SpecError, match="expected a number of at least 1 or one of"):
            parse_rank(wrong)
    with pytest.raises(SpecError, match="unknown rule"):
        choose_rank(torch.ones(1, 3), "gaps", 2)


def test_a_spectrum_of_one_value_has_one_direction() -> None:
    for rule in ("gap", "drop", "damped"):
        assert choose_rank(torch.tensor([[2.0], [0.0]]), rule, 1).tolist() == [1, 0]
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(SpecError, match="expected a share of the largest value"):
            choose_rank(torch.ones(1, 3), "relative", 2, wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_only_rounding_counts_as_no_direction(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(3, 64, 4, generator=generator, dtype=dtype) @ torch.randn(
        3, 4, 128, generator=generator, dtype=dtype
    )
    basis, lengths = orthonormal(low)
    for rule in (60, "relative", "gap"):
        rank = choose_rank(lengths, rule, 128)
        assert rank.tolist() == [4, 4, 4]
    assert (basis.square().sum(1) > 0.5).sum(1).tolist() == [4, 4, 4]
