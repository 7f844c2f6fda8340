"""Control subspaces that do not depend on the image; any smooth gradient beats the isotropic null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from tangency.data.partners import Partners
from tangency.errors import NumericsError
from tangency.numerics import check_rank, dct_basis
from tangency.seeding import Draw
from tangency.tangents.principal import pca_basis
from tangency.tangents.space import SharedSpaces, TangentEstimator, TangentSpace
from tangency.tensors import digest
from tangency.types import LabelledImages

_AT_ONCE = 1000  # images of a pool


@final
class FixedTangents:
    """One subspace for all images: lowest cosines ("dct"), leading principal directions ("pca"), or a random one.

    Args:
        basis: (d, k) orthonormal columns.
        kind: short name for specs and reports.
    """

    def __init__(self, basis: Tensor, kind: str) -> None:
        self.basis, self.kind, self.where, self.max_rank = basis, kind, "the same at every image", basis.shape[1]

    @property
    def card(self) -> Mapping[str, Any]:
        """Kind, rank and a digest of the basis."""
        return {"kind": self.kind, "rank": self.max_rank, "basis": digest({"basis": self.basis})}

    def which(self, x: Tensor) -> Tensor:
        """0 for every image: they share one."""
        return torch.zeros(len(x), dtype=torch.int64, device=x.device)

    def homes(self) -> None:
        """It is of no class."""
        return

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """The same subspace at every x (N, C, H, W)."""
        rank = torch.full((len(x),), self.max_rank, device=x.device)
        return TangentSpace.shared(self.basis.to(x), rank)


def partners_apart(
    estimator: TangentEstimator, pool: LabelledImages, seed: int, device: str | torch.device = "cpu"
) -> Partners:
    """Partners in the pool whose tangent space differs from the image's, for estimators that share spaces.

    The images of one component of a mixture have one tangent space: as each other's partners they would be a control
    that equals what it controls. And an image that a mixture assigns to another class's component has no tangent space
    of its own class, so that it is no partner within its class.
    """
    if not isinstance(estimator, SharedSpaces):
        return Partners(pool, seed)
    parts = [estimator.which(pool.images(ids).to(device)) for ids in torch.split(torch.arange(len(pool)), _AT_ONCE)]
    known = [part.cpu() for part in parts if part is not None]
    if len(known) < len(parts):
        return Partners(pool, seed)
    kinds, homes = torch.cat(known), estimator.homes()
    return Partners(pool, seed, kinds, None if homes is None else homes.cpu()[kinds, pool.labels.cpu()])


@final
class ShuffledTangents:
    """The tangent space of another image, of the same class where the images' own labels are given.

    Where images share tangent spaces, the other image has a different one.

    Args:
        estimator: whose tangent spaces are exchanged.
        pool: images that partners are drawn from; `ids` of `at` are places in it.
        seed: of the partners.
        within_class: draw them from the class of the image.
        device: that of the estimator.
    """

    def __init__(
        self,
        estimator: TangentEstimator,
        pool: LabelledImages,
        seed: int = 0,
        within_class: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        self.estimator, self.pool, self.within_class = estimator, pool, within_class
        self.partners = partners_apart(estimator, pool, seed, device)
        self.kind = "shuffled_class" if within_class else "shuffled"
        self.where, self.max_rank = "at another image", estimator.max_rank
        self.card = {"kind": self.kind, "seed": seed, "data": pool.digest, "estimator": dict(estimator.card)}

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at the partners of x; NaN where there is no other image."""
        if ids is None:
            raise NumericsError(f"tangents '{self.kind}': got no ids, expected the places of the images in their pool.")
        if self.within_class:
            partner, usable = self.partners.of_class(ids, self.pool.labels.to(ids.device)[ids])
        else:
            partner, usable = self.partners.any(ids)
        space = self.estimator.at(self.pool.images(partner.cpu()).to(x), partner)
        basis = space.basis.masked_fill(~usable[:, None, None], torch.nan)
        return TangentSpace(basis, space.rank, weights=space.weights)


def dct_tangents(shape: tuple[int, int, int], k: int) -> FixedTangents:
    """The k lowest frequencies of the cosine transform."""
    return FixedTangents(dct_basis(shape, k), "dct")


def pca_tangents(data: LabelledImages, k: int) -> FixedTangents:
    """The k leading principal directions of all images."""
    return FixedTangents(pca_basis(data, k), "pca")


def random_tangents(shape: tuple[int, int, int], k: int, seed: int = 0) -> FixedTangents:
    """A uniformly random subspace of dimension k: chance itself, with its noise."""
    d = math.prod(shape)
    check_rank(k, d)
    normal = Draw(seed, torch.arange(d), "random tangents").normal((k,), torch.float64)
    return FixedTangents(torch.linalg.qr(normal).Q, "random")
