"""Normal spaces from many scores around an image: the slow reference of denoiser tangents."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import check_rank, flat
from tangency.score import Denoiser
from tangency.seeding import Draw
from tangency.tangents.autoencoders.spaces import refuse_bad
from tangency.tangents.space import TangentSpace, chunks
from tangency.tangents.spectrum import Rank, choose_rank

_AT_ONCE = 2048  # noisy images at once


@final
class ScoreSVDTangents:
    """What is orthogonal to the scores s(x + σnᵢ), i = 1…4d: near the manifold scores point back to it.

    Costs 4d evaluations of the score and the eigendecomposition of a d × d matrix for each image, against a few hundred
    evaluations of `DenoiserTangents`; it is a reference for comparisons.

    Args:
        denoiser: whose score is taken.
        sigma: of the noise and of the score, far below the reach and the features of the data.
        rank: a number, or "gap": d − k is where singular values fall most (the authors' code takes differences).
        samples: scores an image, a multiple of d.
        seed: of the noise; images are distinguished by `ids`.

    Source: Stanczuk et al., arXiv 2212.12611.
    """

    kind, where = "score-svd", "over the σ-ball around the image"

    def __init__(
        self, denoiser: Denoiser, sigma: float = 0.05, rank: Rank = "gap", samples: int = 4, seed: int = 0
    ) -> None:
        d = math.prod(denoiser.shape)
        self.max_rank = rank if isinstance(rank, int) else d - 1
        check_rank(self.max_rank, d)
        if not 0 < sigma < math.inf or samples < 1:
            raise NumericsError(f"score-svd: got σ = {sigma} and {samples}·d scores, expected σ > 0 and at least 1·d.")
        self.denoiser, self.sigma, self.rank, self.samples, self.seed = denoiser, sigma, rank, samples, seed
        own = {"sigma": sigma, "rank": rank, "samples": samples, "seed": seed}
        self.card = {"kind": self.kind, **own, "score": dict(denoiser.card)}

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at x (N, C, H, W), basis in the dtype of x; without `ids` images are counted from 0."""
        ids = torch.arange(len(x), device=x.device) if ids is None else ids
        return TangentSpace.concatenate([self._at(x[one], ids[one], one.start) for one in chunks(x, 1)])

    def _at(self, x: Tensor, ids: Tensor, place: int) -> TangentSpace:
        d = flat(x).shape[1]
        noise = Draw(self.seed, ids, "score-svd").normal((self.samples * d, *x.shape[1:]), x.dtype)[0]
        second = torch.zeros(d, d, dtype=torch.float64, device=x.device)
        with torch.no_grad():
            for part in torch.split(noise, _AT_ONCE):
                scores = self.denoiser.score(x + self.sigma * part, self.sigma)
                refuse_bad(scores.reshape(1, -1), place, f"the score of '{self.denoiser.kind}'")
                rows = flat(scores).double()
                second += rows.mT @ rows
        squares, vectors = torch.linalg.eigh(second)  # ascending: the tangent space comes first
        smallness = (squares[-1] / squares.clamp(min=1e-12 * float(squares[-1])))[None].sqrt()
        rank = choose_rank(smallness, self.rank, self.max_rank)
        space = TangentSpace(vectors[None, :, : self.max_rank].to(x.dtype), rank).cut(rank)
        return TangentSpace(space.basis, space.rank, smallness)
