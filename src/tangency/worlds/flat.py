"""Worlds of flat manifolds: one subspace for all classes, and the negative controls with one for each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tangency.numerics import check_rank
from tangency.worlds.embedding import check_size
from tangency.worlds.gaussians import GaussianCore, equal_mixture
from tangency.worlds.options import Classes, Components, Degrees, EmbeddedWorld, Positive, Variance
from tangency.worlds.world import World


@dataclass(frozen=True)
class LinearWorld(EmbeddedWorld):
    """W1: one subspace for all classes, z|y a Gaussian mixture, x = ½ + scale · U z + √noise n.

    The Bayes gradient lies in span U at every x and σ: Theorem 2 in its purest form.

    Args:
        components: Gaussians in each class.
        separation: spread of the components' means, in standard deviations of a component.
    """

    components: Components = 2
    separation: Positive = 0.8
    noise: Variance = 1e-4

    name = "linear"

    def build(self, root: Path | None) -> World:
        k, rank = self.classes * self.components, self.rank
        check_rank(rank, math.prod(self.shape))
        check_size(self.shape, rank, k)
        means = self.separation * self.normals("means", k, rank)
        loadings = 0.6 * self.normals("loadings", k, rank, rank) / math.sqrt(rank)
        own = torch.arange(self.classes).repeat_interleave(self.components)
        mixture = equal_mixture((1, 1, rank), means - means.mean(0), loadings, 0.4, own)
        energy = float(mixture.means.square().sum(1).mean() + loadings.square().sum((1, 2)).mean() + 0.4 * rank)
        return self.placed(GaussianCore(mixture, whole=True), energy)


class _SubspacePerClass(EmbeddedWorld):
    """W2: each class is a Gaussian without noise on a subspace of its own."""

    def of(self, loadings: Tensor, means: Tensor) -> World:
        """The world of these loadings (classes, n, rank) and means (classes, n)."""
        mixture = equal_mixture((1, 1, means.shape[1]), means, loadings, 0.0, torch.arange(self.classes))
        return self.placed(GaussianCore(mixture), loadings.shape[2])


@dataclass(frozen=True)
class OffsetWorld(_SubspacePerClass):
    """W2, negative control: parallel subspaces, one for each class, shifted along their common normals.

    Every class has the same law along its subspace, so classes differ only off the manifold: the Bayes gradient is
    entirely normal, Σ_c w_c offset_c/(ψ + σ²) exactly.

    Args:
        distance: l2 length of a class's offset, in standard deviations along the subspace.
    """

    classes: Classes = 3
    distance: Positive = 1.0

    name = "offset"

    def build(self, root: Path | None) -> World:
        check_rank(self.rank, math.prod(self.shape))
        check_size(self.shape, self.rank + self.classes, self.classes)
        frame = torch.eye(self.rank + self.classes, dtype=torch.float64)
        loadings = frame[:, : self.rank].expand(self.classes, -1, -1).clone()
        return self.of(loadings, self.distance * frame[:, self.rank :].mT)


@dataclass(frozen=True)
class RotatedWorld(_SubspacePerClass):
    """W2, negative control: every class has a subspace of its own through the common mean.

    With `noise` = 0 the Bayes gradient grows as 1/σ², and cos⁴(angle) of its energy is normal to the class's own
    subspace (two classes, σ → 0).

    Args:
        angle: degrees by which every direction of a class's subspace is turned from one that all classes share into
            one of its own, in (0, 90].
    """

    classes: Classes = 3
    angle: Degrees = 15.0

    name = "rotated"

    def build(self, root: Path | None) -> World:
        rank, classes = self.rank, self.classes
        check_rank(rank, math.prod(self.shape))
        check_size(self.shape, rank * (classes + 1), classes)
        frame = torch.eye(rank * (classes + 1), dtype=torch.float64)
        common, own = frame[:, :rank], frame[:, rank:].reshape(-1, classes, rank).transpose(0, 1)
        turn = math.radians(self.angle)
        loadings = math.cos(turn) * common + math.sin(turn) * own
        return self.of(loadings, torch.zeros(classes, len(frame), dtype=torch.float64))
