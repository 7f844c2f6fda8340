"""From a law of a few coordinates to a law of images, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from tangency.errors import NumericsError, unknown_name
from tangency.numerics import dct_basis
from tangency.seeding import Draw

Patterns = Literal["orthogonal", "smooth"]
_LARGEST = 1_000_000_000  # numbers of the largest matrix of a law
_WIDER = 4  # smooth patterns mix this many low frequencies for each coordinate


@dataclass(frozen=True)
class Embedding:
    """x = offset + scale · U z + √noise · n, n ~ N(0, I_d): an isometry into pixels, times a scale, and a thickness.

    Args:
        shape: (C, H, W), d = C·H·W.
        basis: U, (d, n) orthonormal columns; None for the identity (n = d).
        offset: (d,) float64, or one number for all pixels.
        scale: pixel units to one unit of z, > 0.
        noise: ψ, variance in squared pixel units, ≥ 0.
    """

    shape: tuple[int, int, int]
    basis: Tensor | None = None
    offset: Tensor | float = 0.5
    scale: float = 1.0
    noise: float = 0.0

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """z = Uᵀ(x − offset)/scale (N, n), and what is left over, (I − UUᵀ)(x − offset) (N, d)."""
        centred = rows - self.offset
        if self.basis is None:
            return centred / self.scale, torch.zeros_like(centred)
        z = centred @ self.basis
        return z / self.scale, centred - z @ self.basis.mT

    def lift(self, z: Tensor) -> Tensor:
        """U z of directions, (N, n) to (N, d), or of bases (N, n, k) to (N, d, k)."""
        if self.basis is None:
            return z
        basis = self.basis.to(z.dtype)
        return z @ basis.mT if z.dim() == 2 else torch.einsum("dn,bnk->bdk", basis, z)

    def to(self, device: str) -> Embedding:
        """The same on another device."""
        basis = None if self.basis is None else self.basis.to(device)
        offset = self.offset.to(device) if isinstance(self.offset, Tensor) else self.offset
        return replace(self, basis=basis, offset=offset)


def check_size(shape: tuple[int, int, int], n: int, components: int = 1) -> None:
    """Raise, before anything is allocated, unless n coordinates fit into the images and all of it into memory.

    Args:
        shape: (C, H, W).
        n: coordinates that the law needs.
        components: of the law.
    """
    d = math.prod(shape)
    if not 1 <= n < d:
        raise NumericsError(
            f"rank: the law needs {n} pixel patterns, got images of {d} pixels, which have room for 1 to {d - 1}. "
            "Choose another rank, fewer classes, or larger images."
        )
    numbers = max(d * min(d, _WIDER * n), components * n * n)
    if numbers > _LARGEST:
        raise NumericsError(
            f"shape, rank, classes: the law takes {numbers:.2g} numbers, expected at most {_LARGEST:.0e} (8 GB). "
            "Choose a smaller shape, rank or number of classes."
        )


def patterns(kind: str, shape: tuple[int, int, int], n: int, seed: int) -> Tensor:
    """(d, n) float64 orthonormal pixel patterns.

    "orthogonal" is a uniformly random isometry, "smooth" a random one into the lowest frequencies of the DCT: it mixes
    four times as many as it has patterns, so that no low-frequency subspace of equal rank is the manifold by chance.
    """
    if kind not in get_args(Patterns):
        raise NumericsError(unknown_name("embedding", kind, get_args(Patterns)))
    check_size(shape, n)
    d = math.prod(shape)
    frame = dct_basis(shape, min(d - 1, _WIDER * n)) if kind == "smooth" else None
    width = d if frame is None else frame.shape[1]
    random = Draw(seed, torch.arange(width), "embedding").normal((n,), torch.float64)
    mixed: Tensor = torch.linalg.qr(random).Q
    return mixed if frame is None else frame @ mixed
