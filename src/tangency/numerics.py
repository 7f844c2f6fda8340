"""Per-example linear algebra. The rule for zero vectors lives here, once: their direction is NaN, and counted."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tangency.errors import NumericsError


def flat(x: Tensor) -> Tensor:
    """(N, …) to (N, d)."""
    return x.reshape(len(x), math.prod(x.shape[1:]))  # not −1: no images is a batch too


def per_example(values: Tensor, like: Tensor) -> Tensor:
    """(N,) reshaped to broadcast against `like` of shape (N, …)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def norms(x: Tensor) -> Tensor:
    """l2 norm of each example, (N, …) to (N,); scaled by the largest entry, so it neither under- nor overflows."""
    rows = flat(x)
    largest = rows.abs().amax(1)
    scale = torch.where(largest > 0, largest, torch.ones_like(largest))
    return (rows / scale[:, None]).square().sum(1).sqrt() * largest


def unit(x: Tensor) -> Tensor:
    """Each example divided by its l2 norm, (N, …) to (N, …).

    A zero vector has no direction: the result is NaN for that example, never a fudged zero. Vectors as small as
    1e-38 keep their direction (the norm is taken after scaling by the largest entry).
    """
    largest = flat(x).abs().amax(1)
    scaled = x / per_example(largest, x)  # 0/0 = NaN for a zero vector
    return scaled / per_example(norms(scaled), x)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Signed cosine ⟨a, b⟩ / (‖a‖‖b‖) of each example, (N, …) × (N, …) to (N,) in [−1, 1]; NaN for a zero vector."""
    if a.shape != b.shape:
        raise NumericsError(f"cosine: got shapes {tuple(a.shape)} and {tuple(b.shape)}, expected equal ones.")
    return (flat(unit(a)) * flat(unit(b))).sum(1).clamp(-1, 1)


def coefficients(basis: Tensor, x: Tensor) -> Tensor:
    """Uᵀx: (N, d, k) orthonormal basis × (N, …) to (N, k)."""
    return torch.einsum("ndk,nd->nk", basis, flat(x))


def project(basis: Tensor, x: Tensor) -> Tensor:
    """P x = U Uᵀ x, the part of each example in the span of its basis, (N, d, k) × (N, …) to (N, …)."""
    return torch.einsum("ndk,nk->nd", basis, coefficients(basis, x)).reshape(x.shape)


def energy_fraction(basis: Tensor, x: Tensor) -> Tensor:
    """F² = ‖P x‖² / ‖x‖² of each example, (N, d, k) × (N, …) to (N,) in [0, 1]; NaN for a zero vector."""
    return coefficients(basis, unit(x)).square().sum(1).clamp(0, 1)


def masked_orthonormal(columns: Tensor, tolerance: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Orthonormal bases of the column spans of (N, d, k), and their ranks (N,).

    Directions with a singular value under `tolerance` × the largest are dropped (their columns are zero), so a
    rank-deficient matrix yields its true rank instead of arbitrary columns.
    """
    u, s, _ = torch.linalg.svd(columns, full_matrices=False)
    keep = s > tolerance * s[:, :1]
    return u * keep[:, None, :], keep.sum(1)
