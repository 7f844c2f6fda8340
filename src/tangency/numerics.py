"""Per-example linear algebra. The rule for zero vectors lives here, once: their direction is NaN, and counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.types import Direction, Sigma

Values = TypeVar("Values", Tensor, Direction)


def flat(x: Tensor) -> Tensor:
    """(N, …) to (N, d)."""
    return x.reshape(len(x), math.prod(x.shape[1:]))  # not −1: no images is a batch too


def at_once(shape: Sequence[int], most: int, pixels: int = 1 << 20) -> int:
    """How many images of shape (C, H, W) go through a network at once: `most`, fewer of large ones, at least 1."""
    return max(1, min(most, pixels // max(1, math.prod(shape[1:]))))


def per_example(values: Tensor, like: Tensor) -> Tensor:
    """(N,) reshaped to broadcast against `like` of shape (N, …)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def norms(x: Tensor) -> Tensor:
    """l2 norm of each example, (N, …) to (N,); scaled by the largest entry, so it neither under- nor overflows."""
    rows = flat(x)
    largest = rows.abs().amax(1)
    scale = torch.where(largest > 0, largest, torch.ones_like(largest))
    return (rows / scale[:, None]).square().sum(1).sqrt() * largest


def check_shape(x: Tensor, shape: tuple[int, int, int]) -> None:
    """Raise unless x is (N, C, H, W) with that (C, H, W)."""
    if tuple(x.shape[1:]) != tuple(shape):
        raise NumericsError(f"images: got shape {tuple(x.shape)}, expected (N, {', '.join(map(str, shape))}).")


def noise_levels(sigma: Sigma, x: Tensor) -> Tensor:
    """σ of each image of x as a float64 tensor (N,) on its device; raises unless all are finite and at least 0."""
    levels = torch.as_tensor(sigma, dtype=torch.float64, device=x.device)
    if levels.dim() > 1 or (levels.dim() == 1 and len(levels) != len(x)):
        raise NumericsError(
            f"sigma: got shape {tuple(levels.shape)} for {len(x)} images, expected one number, or one for each image."
        )
    bad = levels[~((levels >= 0) & (levels < torch.inf))]
    if bad.numel():
        raise NumericsError(
            f"sigma: got {float(bad.flatten()[0])}, expected a finite noise level of at least 0 in [0, 1] pixel units."
        )
    return levels.expand(len(x))


def per_level(evaluate: Callable[[Tensor, float, Any], Values], x: Tensor, sigma: Sigma, y: Tensor | None) -> Values:
    """A closed form of x, one σ and y, for one σ or one for each image: one call for each distinct σ."""
    if not isinstance(sigma, Tensor):
        return evaluate(x, sigma, y)
    levels = noise_levels(sigma, x)
    if not len(levels):
        return evaluate(x, 1.0, y)
    distinct, which = torch.unique(levels, return_inverse=True)
    if len(distinct) == 1:
        return evaluate(x, float(distinct[0]), y)
    members = [(which == number).nonzero().flatten() for number in range(len(distinct))]
    parts = [
        evaluate(x[index], level, None if y is None else y[index])
        for index, level in zip(members, distinct.tolist(), strict=True)
    ]
    joined: Values = _joined(parts, torch.cat(members).argsort())
    return joined


def _joined(parts: list[Any], order: Tensor) -> Any:
    """Tensors, or directions, concatenated and reordered."""
    if isinstance(parts[0], Direction):
        direction, log_norm = (torch.cat([getattr(p, name) for p in parts]) for name in ("direction", "log_norm"))
        return Direction(direction[order], log_norm[order])
    return torch.cat(parts)[order]


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
    return (flat(x)[:, None] @ basis)[:, 0]  # several times as fast as einsum, which copies the bases


def project(basis: Tensor, x: Tensor) -> Tensor:
    """P x = U Uᵀ x, the part of each example in the span of its basis, (N, d, k) × (N, …) to (N, …)."""
    return (coefficients(basis, x)[:, None] @ basis.mT)[:, 0].reshape(x.shape)


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


def check_rank(k: int, d: int) -> None:
    """Raise unless a subspace of dimension k is proper: 1 ≤ k < d."""
    if not 1 <= k < d:
        raise NumericsError(f"rank: got {k} for images of {d} pixels, expected 1 to {d - 1}.")


def dct_basis(shape: tuple[int, int, int], k: int) -> Tensor:
    """The k lowest frequencies of the orthonormal DCT-II, (d, k) float64, d = C·H·W.

    Frequencies (u, v) are ordered by (u/H)² + (v/W)², ties by u; each comes in every channel before the next.
    """
    channels, height, width = shape
    check_rank(k, channels * height * width)

    def cosines(n: int) -> Tensor:
        position = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        waves = torch.cos(math.pi * position[:, None] * torch.arange(n, dtype=torch.float64))
        return waves / waves.square().sum(0).sqrt()

    needed = min(-(-k // channels), height * width)
    order = sorted(
        ((u, v) for u in range(height) for v in range(width)),
        key=lambda f: ((f[0] / height) ** 2 + (f[1] / width) ** 2, f),
    )[:needed]
    u, v = (torch.tensor(values) for values in zip(*order, strict=True))
    images = cosines(height)[:, None, u] * cosines(width)[None, :, v]  # (H, W, needed)
    waves = images.reshape(height * width, needed)
    basis = torch.einsum("pf,ce->cpfe", waves, torch.eye(channels, dtype=torch.float64))
    return basis.reshape(channels * height * width, needed * channels)[:, :k].contiguous()


def complement(u: Tensor) -> Tensor:
    """Orthonormal basis of the complement of each unit vector, (…, n) to (…, n, n − 1), by a Householder reflection."""
    sign = torch.where(u[..., :1] < 0, -1.0, 1.0)
    w = u.clone()
    w[..., :1] += sign
    scaled = 2 * w / w.square().sum(-1, keepdim=True)
    eye = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
    return (eye - scaled[..., :, None] * w[..., None, :])[..., 1:]
