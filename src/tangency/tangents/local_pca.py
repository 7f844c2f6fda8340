"""Tangent spaces from the nearest training images of each image."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from tangency.data.search import Neighbours
from tangency.devices import chunk_bytes
from tangency.errors import DataError, NumericsError, counted
from tangency.numerics import check_rank, flat
from tangency.tangents.space import TangentSpace, chunks
from tangency.tangents.spectrum import Rank, choose_rank, orthonormal
from tangency.types import LabelledImages

NEIGHBOURS, RANK = 60, 12


def usual_neighbours(data: LabelledImages) -> tuple[int, int]:
    """Default neighbours and rank: 60 and 12, or fewer for few images or pixels.

    Raises:
        DataError: fewer than 3 images.
    """
    neighbours = min(NEIGHBOURS, len(data))
    rank = min(RANK, neighbours - 2, math.prod(data.shape) - 1)
    if rank < 1:
        raise DataError(
            f"'{data.name}': has {counted(len(data), 'training image')}, expected at least 3: without a mixture, "
            "tangent spaces are those of the nearest training images. Add some, or name others with --tangents "
            "(tangents)."
        )
    return neighbours, rank


@final
class LocalPCATangents:
    """Leading principal directions of the K nearest training images, about their mean.

    Its bias is the curvature of the manifold times the radius of the neighbourhood, and the noise of few neighbours;
    above a dimension of about 10 no data set is dense enough (THEORY: leakage .02 to .08 on spheres of dimension 2 to
    10). `TangentSpace.residual` is the distance of x from the affine space through the neighbours.

    Args:
        data: images that neighbours are searched among, exactly.
        neighbours: K, more than the rank.
        rank: a number, or a rule of `choose_rank` over the variances.
        most: largest rank that a rule may choose.
        tolerance: of the rule "relative": directions with more than this share of the largest variance.

    Raises:
        NumericsError: a rank of K or more, or of d or more; fewer images than K.

    Example:
        >>> from tangency.worlds import load_dataset
        >>> data = load_dataset("world:sphere?shape=1x4x4&rank=2&train=2000&test=4")
        >>> LocalPCATangents(data.train, neighbours=20, rank=2).at(data.test.images()).rank.tolist()
        [2, 2, 2, 2]
    """

    kind, where = "local-pca", "at the mean of the neighbours"

    def __init__(
        self,
        data: LabelledImages,
        neighbours: int = NEIGHBOURS,
        rank: Rank = RANK,
        most: int = 32,
        tolerance: float = 0.05,
        device: str | torch.device = "cpu",
    ) -> None:
        d = math.prod(data.shape)
        if neighbours < 2:
            raise NumericsError(f"neighbours: got {neighbours}, expected at least 2.")
        self.max_rank = rank if isinstance(rank, int) else max(1, min(most, neighbours - 2, d - 1))
        check_rank(self.max_rank, d)
        if self.max_rank >= neighbours:
            raise NumericsError(f"neighbours: got {neighbours} for a rank of {self.max_rank}, expected more than that.")
        if neighbours > len(data):
            raise NumericsError(f"neighbours: got {neighbours} of {len(data)} images, expected at most that many.")
        self.data, self.neighbours, self.rank, self.tolerance = data, neighbours, rank, tolerance
        self._search = Neighbours(data, device)
        own = {"neighbours": neighbours, "rank": rank, "most": self.max_rank, "tolerance": tolerance}
        self.card = {"kind": self.kind, **own, "data": data.digest}

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at x (N, C, H, W), basis in the dtype of x."""
        size = 4 * chunk_bytes(x.device) // (4 * 8 * self.neighbours * math.prod(x.shape[1:]))
        return TangentSpace.concatenate([self._at(x[part]) for part in chunks(x, size)])

    def _at(self, x: Tensor) -> TangentSpace:
        index = self._search.of(x, self.neighbours)
        rows = flat(self.data.images(index.flatten().cpu())).to(x.device).double()
        rows = rows.reshape(*index.shape, -1)
        mean = rows.mean(1, keepdim=True)
        basis, lengths = orthonormal((rows - mean).mT)
        variances = (lengths.square() / (self.neighbours - 1))[:, : self.neighbours - 1]
        rank = choose_rank(variances, self.rank, self.max_rank, self.tolerance)
        space = TangentSpace(basis[:, :, : self.max_rank], rank).cut(rank)
        away = flat(x).double() - mean[:, 0]
        base = mean[:, 0] + space.project(away)
        residual = (flat(x).double() - base).square().sum(1).sqrt()
        return TangentSpace(
            space.basis.to(x.dtype), space.rank, variances, base=base.reshape(x.shape).to(x.dtype), residual=residual
        )
