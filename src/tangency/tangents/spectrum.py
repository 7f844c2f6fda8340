"""Rank rules for spectra, and orthonormal bases of columns that may depend on each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tangency.errors import SpecError, unknown_name

Rank = int | str
_FLOOR = 1e-12  # of the largest value: below it there is nothing but rounding
_LEAST, _LEAST_SINGLE = 1e-7, 2e-6  # of the largest singular value: what is kept
_EXACT, _STEPS = 1e-13, 4  # orthogonality that is reached, in at most so many steps


def choose_rank(spectrum: Tensor, rule: Rank, most: int, tolerance: float = 0.0) -> Tensor:
    """Number of directions of each image, (N,) int64 from 0 to `most`.

    Args:
        spectrum: (N, m), descending, ≥ 0.
        rule: a number; "gap": where λ_i/λ_{i+1} is largest; "drop": where λ_i − λ_{i+1} is; "damped": where
            (λ_i + tolerance · λ₁)/(λ_{i+1} + tolerance · λ₁) is, between the two: ratios among small values count for
            little, and so do differences among large ones; "participation": (Σλ)²/Σλ², rounded; "relative": how many
            λ_i > tolerance · λ₁.
        most: the largest rank, m at most.
        tolerance: of "relative" and "damped".

    Example:
        >>> choose_rank(torch.tensor([[5.0, 4.0, 0.1, 0.05]]), "gap", 3).item()
        2

    Source: rules: Fukunaga & Olsen (1971), and as scikit-dimension's lPCA names them.
    """
    if not 0 <= tolerance < 1:
        raise SpecError(f"tolerance: got {tolerance}, expected a share of the largest value, at least 0 and below 1.")
    spectrum = spectrum.double().clamp(min=0)
    meaningful = (spectrum > _FLOOR * spectrum[:, :1]).sum(1)  # 0 for a spectrum of zeros
    most = min(most, spectrum.shape[1])
    if isinstance(rule, int):
        rank = torch.full_like(meaningful, rule)
    elif rule in RULES:
        rank = RULES[rule](spectrum, most, tolerance)
    else:
        raise SpecError(f"rank: {unknown_name('rule', rule, RULES)} A number is one, too.")
    return torch.minimum(rank, meaningful).clamp(max=most)


def _gap(spectrum: Tensor, most: int, tolerance: float) -> Tensor:
    if spectrum.shape[1] < 2:
        return torch.ones_like(spectrum[:, 0], dtype=torch.int64)
    least = _FLOOR * spectrum[:, :1] + torch.finfo(torch.float64).tiny
    ratios = spectrum[:, :-1].clamp(min=least) / spectrum[:, 1:].clamp(min=least)
    return ratios[:, :most].argmax(1) + 1


def _participation(spectrum: Tensor, most: int, tolerance: float) -> Tensor:
    return (spectrum.sum(1).square() / spectrum.square().sum(1)).nan_to_num(0.0).round().long()


def _relative(spectrum: Tensor, most: int, tolerance: float) -> Tensor:
    return (spectrum > tolerance * spectrum[:, :1]).sum(1)


def _drop(spectrum: Tensor, most: int, tolerance: float) -> Tensor:
    if spectrum.shape[1] < 2:
        return torch.ones_like(spectrum[:, 0], dtype=torch.int64)
    return (spectrum[:, :-1] - spectrum[:, 1:])[:, :most].argmax(1) + 1


def _damped(spectrum: Tensor, most: int, tolerance: float) -> Tensor:
    return _gap(spectrum + tolerance * spectrum[:, :1], most, tolerance)


RULES: dict[str, Callable[[Tensor, int, float], Tensor]] = {
    "gap": _gap,
    "drop": _drop,
    "damped": _damped,
    "participation": _participation,
    "relative": _relative,
}


def parse_rank(value: object) -> Rank:
    """A rank as written in a reference: a number or the name of a rule."""
    text = str(value)
    if text.isdigit() and int(text) >= 1:
        return int(text)
    if text not in RULES:
        raise SpecError(f"rank: got '{text}', expected a number of at least 1 or one of {', '.join(RULES)}.")
    return text


def orthonormal(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (N, d, k) and singular values (N, k) of columns (N, d, k), descending, both float64.

    By the eigendecomposition of the (k, k) Gram matrix in float64. What that loses of orthogonality, ε(σ₁/σᵢ)², is
    restored by Newton–Schulz steps U ← U(3 − UᵀU)/2. Singular values below 1e-7 of the largest, or 2e-6 where the
    columns are in single precision, are rounding: they and their vectors are zero.
    """
    least = _LEAST if columns.dtype == torch.float64 else _LEAST_SINGLE
    wide = columns.double()
    scale = wide.abs().amax((1, 2)).clamp(min=torch.finfo(torch.float64).tiny)[:, None]
    wide = wide / scale[:, None]
    squares, vectors = torch.linalg.eigh(wide.mT @ wide)
    lengths = squares.flip(1).clamp(min=0).sqrt()
    kept = lengths > least * lengths[:, :1]
    inverse = torch.where(kept, 1 / lengths.where(kept, 1.0), 0.0)
    basis = wide @ (vectors.flip(2) * inverse[:, None, :])
    for _ in range(_STEPS):
        gram = basis.mT @ basis
        if float((gram - torch.diag_embed(kept.double())).abs().max()) < _EXACT:
            break
        basis = 1.5 * basis - 0.5 * basis @ gram
    return basis, lengths * kept * scale
