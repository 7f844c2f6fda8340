"""Tangent spaces of a world, which are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from tangency.tangents.space import TangentSpace
from tangency.worlds import World


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
        self.world = world

    @property
    def max_rank(self) -> int:
        """The intrinsic dimension."""
        return self.world.intrinsic_dimension

    @property
    def card(self) -> Mapping[str, Any]:
        """Kind and world."""
        return {"kind": self.kind, "world": dict(self.world.card)}

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at x (N, C, H, W), basis in the dtype of x."""
        return TangentSpace(*self.world.tangent_basis(x))
