"""Worlds of curved manifolds: the sphere and the flat torus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from tangency.errors import NumericsError
from tangency.numerics import unit
from tangency.worlds.embedding import check_size
from tangency.worlds.options import Components, Concentration, EmbeddedWorld
from tangency.worlds.spheres import SphereCore
from tangency.worlds.world import World


@dataclass(frozen=True)
class SphereWorld(EmbeddedWorld):
    """W4: the unit sphere of dimension `rank`, von Mises–Fisher classes.

    All classes live on the same manifold, so the Bayes gradient is tangent up to its curvature: the normal part
    vanishes as σ² (and is 0 at σ = 0).

    Args:
        rank: dimension of the sphere, which lies in `rank` + 1 pixel patterns.
        concentration: κ of every component, ≥ 0.
        noise: ψ, thickness of the sphere as a variance in squared pixel units.
    """

    rank: int = 7
    components: Components = 1
    concentration: Concentration = 4.0

    name = "sphere"

    def build(self, root: Path | None) -> World:
        return self._product(1, self.rank + 1)

    def _product(self, blocks: int, b: int) -> World:
        """The product of `blocks` unit spheres of R^b."""
        if self.rank < 1:
            raise NumericsError(f"{self.name}: got rank {self.rank}, expected at least 1.")
        k = self.classes * self.components
        check_size(self.shape, blocks * b, k)
        core = SphereCore(
            means=unit(self.normals("directions", k * blocks, b)).reshape(k, blocks, b),
            kappa=torch.full((k, blocks), float(self.concentration), dtype=torch.float64),
            log_weights=torch.full((k,), -math.log(k), dtype=torch.float64),
            component_class=torch.arange(self.classes).repeat_interleave(self.components),
            classes=self.classes,
        )
        return self.placed(core, blocks)


@dataclass(frozen=True)
class TorusWorld(SphereWorld):
    """W5: the flat torus (S¹)^rank, classes mixtures of products of von Mises laws."""

    rank: int = 6
    components: Components = 2
    concentration: Concentration = 2.0

    name = "torus"

    def build(self, root: Path | None) -> World:
        return self._product(self.rank, 2)
