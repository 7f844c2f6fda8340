"""Tangent spaces of a world, which are known."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from tangency.numerics import flat
from tangency.tangents.space import TangentSpace, homes_of, numbered
from tangency.worlds import GaussianCore, World


@final
class WorldTangents:
    """T M at the point of the world's manifold nearest to x.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("sphere?rank=3")
        >>> WorldTangents(world).at(world.sample(2, seed=0).x).rank.tolist()
        [3, 3]
    """

    kind, where = "exact", "at the nearest point of the manifold"

    def __init__(self, world: World) -> None:
        self.world, self.max_rank = world, world.intrinsic_dimension
        self.card = {"kind": self.kind, "world": dict(world.card)}
        self._numbered: Tensor | None = None  # of the components

    def which(self, x: Tensor) -> Tensor | None:
        """Number of the space of each image, (N,), in worlds of flat pieces; None on curved manifolds."""
        core = self.world.core
        if not isinstance(core, GaussianCore):
            return None
        if core.whole:
            return torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return self._numbers(core).to(x.device)[core.component(self.world.embedding.encode(flat(x).double())[0])]

    def homes(self) -> Tensor | None:
        """Which classes have components of each space, (K, classes) bool; None where there is but one, or none."""
        core = self.world.core
        if not isinstance(core, GaussianCore) or core.whole:
            return None
        return homes_of(self._numbers(core), core.mixture.component_class, core.classes)

    def _numbers(self, core: GaussianCore) -> Tensor:
        if self._numbered is None:
            self._numbered = numbered([core.mixture.bases()[0]])
        return self._numbered

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at x (N, C, H, W), basis in the dtype of x."""
        return TangentSpace(*self.world.tangent_basis(x))
