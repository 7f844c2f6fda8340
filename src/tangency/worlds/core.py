"""The interface of a law in its own coordinates; `World` puts it into images and derives the rest."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from tangency.mixtures.weights import Weigh
from tangency.seeding import Draw


class Core(Protocol):
    """A law of (z, y) on R^n, in coordinates where its scale is of order one. All tensors are float64."""

    @property
    def dimension(self) -> int:
        """n."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    @property
    def intrinsic_dimension(self) -> int:
        """Dimension of the manifold; the largest, where it differs between components."""

    @property
    def singular(self) -> str:
        """Why there is no density on R^n at σ = 0, or nothing where there is one."""

    @property
    def no_posterior(self) -> str:
        """Why the posterior has no limit as σ → 0, or nothing where it has one."""

    def draw(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """For each id a point z (N, n), its class (N,) and its component (N,)."""

    def log_prior(self) -> Tensor:
        """log p(c), (classes,)."""

    def log_class_joint(self, z: Tensor, sigma: float) -> Tensor:
        """log p_σ(z, c), (N, n) to (N, classes); of a singular law at σ = 0 with respect to its surface measure."""

    def weighted_score(self, z: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Σ_c w_c ∇ log p_σ(z | c) (N, n), and log p_σ(z, c) (N, classes).

        At σ = 0 of a singular law only for weights that sum to zero: the part that all classes share has no limit.
        """

    def mean_square(self, z: Tensor, sigma: float) -> Tensor:
        """E[‖z − z₀‖² | z], (N, n) to (N,), σ > 0."""

    def tangents(self, z: Tensor, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Orthonormal basis at the point of the manifold nearest to z, (N, n, k) with zero columns, and rank (N,)."""

    def span(self) -> Tensor | None:
        """(n, m) orthonormal basis in which every gradient of log p_σ(y | z) lies, where one serves all points."""

    def to(self, device: str) -> Core:
        """The same on another device."""
