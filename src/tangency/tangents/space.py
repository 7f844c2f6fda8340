"""A tangent space for each image, and the contract of what estimates one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import coefficients, energy_fraction, project


@dataclass(frozen=True)
class TangentSpace:
    """T_x M of each image as an orthonormal basis.

    Args:
        basis: (N, d, k), orthonormal columns; columns beyond an image's rank are zero.
        rank: (N,) int64, the dimension for each image.
    """

    basis: Tensor
    rank: Tensor

    @staticmethod
    def shared(basis: Tensor, rank: Tensor) -> TangentSpace:
        """One (d, k) orthonormal basis for all images, cut to the first `rank` columns of each."""
        k = basis.shape[1]
        if int(rank.max()) > k:
            raise NumericsError(f"rank: got up to {int(rank.max())}, expected at most the {k} columns of the basis.")
        keep = torch.arange(k, device=rank.device) < rank[:, None]
        return TangentSpace(basis * keep[:, None, :], rank)

    @property
    def dimension(self) -> int:
        """d, the dimension of the pixel space."""
        return self.basis.shape[1]

    def cut(self, rank: Tensor) -> TangentSpace:
        """The first min(own rank, `rank`) directions of each image."""
        least = torch.minimum(self.rank, rank)
        keep = torch.arange(self.basis.shape[2], device=rank.device) < least[:, None]
        return TangentSpace(self.basis * keep[:, None, :], least)

    def project(self, x: Tensor) -> Tensor:
        """P x, (N, …)."""
        return project(self.basis.to(x.dtype), x)

    def reject(self, x: Tensor) -> Tensor:
        """(I − P) x, (N, …)."""
        return x - self.project(x)

    def fraction(self, x: Tensor) -> Tensor:
        """F² = ‖P x‖²/‖x‖², (N,) in [0, 1]; NaN for a zero vector. Chance for a random direction: rank/d."""
        return energy_fraction(self.basis.to(x.dtype), x)

    def on_direction(self, noise: Tensor) -> Tensor:
        """Unit vector, uniform in the tangent space: P n/‖P n‖ from normal noise (N, …); NaN at rank 0."""
        inside = coefficients(self.basis.to(noise.dtype), noise)
        length = inside.square().sum(1).sqrt()
        along = torch.einsum("ndk,nk->nd", self.basis.to(noise.dtype), inside / length[:, None])
        return along.reshape(noise.shape)


class TangentEstimator(Protocol):
    """What estimates tangent spaces."""

    @property
    def kind(self) -> str:
        """Short name that stands in specs and reports ("mfa")."""
        ...

    @property
    def max_rank(self) -> int:
        """Largest dimension of a tangent space."""
        ...

    def at(self, x: Tensor) -> TangentSpace:
        """Tangent spaces at the images x (N, C, H, W); labels are not used, so none can leak."""
        ...
