"""Tangent spaces of a mixture of factor analysers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from tangency.mixtures import Mixture
from tangency.numerics import flat
from tangency.tangents.space import TangentSpace, homes_of, numbered
from tangency.tensors import digest

_TOLERANCE = 1e-6  # as of `masked_orthonormal`
_VALUES = 2_000_000  # numbers of the bases that are made at once


@final
class MixtureTangents:
    """span A_j of the component with the largest responsibility for x over all classes (no label leaks).

    `TangentSpace.spectrum` holds the singular values of A_j in pixel units, `base` the nearest point of μ_j + span A_j.
    """

    kind, where = "mfa", "at the component of the image"

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture
        self._bases: Tensor | None = None  # those of a compact mixture are made when they are needed
        self._lengths = mixture.lengths()
        if mixture.compact:
            self._ranks = (self._lengths > _TOLERANCE * self._lengths[:, :1]).sum(1)
        else:
            self._bases, self._ranks = mixture.bases()
        self.max_rank = int(self._ranks.max())

    def _basis_of(self, component: Tensor) -> Tensor:
        """Bases of components (n,), (n, d, k)."""
        if self._bases is not None:
            return self._bases[component]
        distinct, place = torch.unique(component, return_inverse=True)
        return self.mixture.bases(distinct)[0][place]

    @cached_property
    def card(self) -> Mapping[str, Any]:
        """Kind and a digest of the mixture."""
        fields = {f.name: getattr(self.mixture, f.name) for f in dataclasses.fields(self.mixture)}
        tensors = {name: value for name, value in fields.items() if isinstance(value, Tensor)}
        return {"kind": self.kind, "rank": self.max_rank, "mixture": digest(tensors)}

    def which(self, x: Tensor) -> Tensor:
        """Number of the space of each image, (N,): that of its component, or of an earlier one of the same span."""
        return self._numbers[self.mixture.component(x)]

    def homes(self) -> Tensor:
        """Which classes have components of each space, (K, classes) bool."""
        return homes_of(self._numbers, self.mixture.component_class, self.mixture.classes)

    @cached_property
    def _numbers(self) -> Tensor:
        if self._bases is not None:
            return numbered([self._bases])
        k_components, d, rank = self.mixture.loadings.shape
        components = torch.arange(k_components, device=self.mixture.means.device)
        parts = torch.split(components, max(1, _VALUES // (d * rank)))  # all bases at once would not fit into memory
        return numbered(self.mixture.bases(part)[0] for part in parts)

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at x (N, C, H, W), basis in the dtype of x."""
        component = self.mixture.component(x)
        space = TangentSpace(self._basis_of(component), self._ranks[component])
        mean = self.mixture.means[component].double()
        base = mean + space.project(flat(x).double() - mean)
        return TangentSpace(
            space.basis.to(x.dtype),
            space.rank,
            self._lengths[component],
            base=base.reshape(x.shape).to(x.dtype),
            residual=(flat(x).double() - base).square().sum(1).sqrt(),
        )
