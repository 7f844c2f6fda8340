"""Tangent spaces of a mixture of factor analysers."""

from __future__ import annotations

from typing import final

from torch import Tensor

from tangency.mixtures import Mixture
from tangency.tangents.space import TangentSpace


@final
class MixtureTangents:
    """span A_j of the component with the largest responsibility for x over all classes (no label leaks)."""

    kind = "mfa"

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture
        self._bases, self._ranks = mixture.bases()

    @property
    def max_rank(self) -> int:
        """Largest rank of a component."""
        return int(self._ranks.max())

    def at(self, x: Tensor) -> TangentSpace:
        """Tangent spaces at x (N, C, H, W), basis in the dtype of x."""
        component = self.mixture.component(x)
        return TangentSpace(self._bases[component].to(x.dtype), self._ranks[component])
