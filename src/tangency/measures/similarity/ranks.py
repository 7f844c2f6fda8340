"""Rank correlation of magnitudes: where two signals are large, whatever their signs."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.numerics import flat, unit


def average_ranks(values: Tensor) -> Tensor:
    """Ranks within each row from 1, ties sharing their average, (N, d) to (N, d) float64; NaN for a row with a NaN.

    Example:
        >>> average_ranks(torch.tensor([[3.0, 1.0, 3.0, 2.0]])).tolist()
        [[3.5, 1.0, 3.5, 2.0]]
    """
    ordered = values.sort(1).values.contiguous()
    below = torch.searchsorted(ordered, values.contiguous(), right=False)
    up_to = torch.searchsorted(ordered, values.contiguous(), right=True)
    known = values.isfinite().all(1, keepdim=True)
    return ((below + up_to + 1).double() / 2).where(known, torch.nan)


def magnitude_ranks(signal: Tensor) -> Tensor:
    """Unit vector of the centred ranks of |g| in each image, (N, …) to (N, d) float64; NaN where all |g| are equal."""
    ranks = average_ranks(flat(signal).abs())
    return unit(ranks - ranks.mean(1, keepdim=True))


def spearman_magnitudes(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's ρ of |a| and |b| over the pixels of each image, (N, …) × (N, …) to (N,) in [−1, 1].

    Example:
        >>> a = torch.tensor([[1.0, -2.0, 3.0, -4.0]])
        >>> spearman_magnitudes(a, -a.square()).item()
        1.0

    Source: Spearman 1904; ties take their average rank, as in scipy.stats.spearmanr.
    """
    return (magnitude_ranks(a) * magnitude_ranks(b)).sum(1).clamp(-1, 1)
