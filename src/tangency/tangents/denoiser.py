"""Tangent spaces as the leading eigenvectors of a denoiser's Jacobian, by a block Krylov iteration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional

from tangency.autodiff import pushforward
from tangency.devices import chunk_bytes
from tangency.errors import NumericsError
from tangency.numerics import check_rank, flat
from tangency.score import Denoiser
from tangency.score.derived import ScoreOfDenoiser
from tangency.seeding import Draw
from tangency.tangents.decoder import refuse_bad
from tangency.tangents.space import TangentSpace, chunks
from tangency.tangents.spectrum import Rank, choose_rank, orthonormal

_FEWEST = 4  # vectors of a block
_NOTHING = 1e-5  # of a block: what is left of it beside earlier ones that is only rounding
_ACTIVATIONS = 64  # numbers that a network holds for each pixel of each vector, about


@final
class DenoiserTangents:
    """Leading eigenvectors of (J + Jᵀ)/2, J = ∂D(x; σ)/∂x, whose eigenvalues are Var[x₀ | x]/σ² along them.

    They are about 1 along the manifold and 0 off it where σ is far below the reach and the extent of the data
    (tangent over normal is about 2/(kσ²) on a unit sphere). A random block V of few vectors is multiplied by J in
    forward mode, `products` times over, which spans V, JV, J²V, … (a block Krylov space); the Rayleigh–Ritz pairs
    of the symmetric part in it are the answer. Each product costs two evaluations of D a vector. `asymmetry` of the
    tangent space tells how far J is from symmetric there: a network is not quite a gradient.

    Args:
        denoiser: differentiable; asked in the precision of the images.
        sigma: small beside the features of the data, large enough for the network: it learnt no σ below its range.
        rank: a number, or a rule of `choose_rank` over the eigenvalues.
        most: largest rank that a rule may choose.
        tolerance: of the rule "relative": a half, so that a direction counts where half of the variance is signal.
        products: of J with a block, at least 1. Many products of a small block converge faster than few of a large one,
            which fills a machine better.
        block: vectors of a block; 0 for a quarter of the rank and a little more.
        draws: 0 takes J at a point; more average it over as many draws of the σ-ball around it.
        at_reconstruction: whether that point is D(x; σ) instead of x.
        soft: weigh each direction by its eigenvalue, cut to [0, 1], instead of by 1.
        seed: of the first vectors and the draws; images are told apart by `ids`.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?shape=1x4x4&rank=3")
        >>> x = world.sample(2, seed=0).x
        >>> DenoiserTangents(world, sigma=0.02, rank="drop").at(x).rank.tolist()
        [3, 3]

    Source: eigenvectors of denoisers: Kadkhodaie et al., arXiv 2310.02557; the iteration: Musco & Musco, arXiv
    1504.05477. Without a rank: FLIPD, `tangency.score.diagnose`.
    """

    kind = "denoiser"

    def __init__(
        self,
        denoiser: Denoiser,
        sigma: float = 0.1,
        rank: Rank = 12,
        most: int = 32,
        tolerance: float = 0.5,
        products: int = 14,
        block: int = 0,
        draws: int = 0,
        at_reconstruction: bool = False,
        soft: bool = False,
        seed: int = 0,
    ) -> None:
        d = math.prod(denoiser.shape)
        self._most = rank if isinstance(rank, int) else min(most, d - 1)
        check_rank(self._most, d)
        if isinstance(denoiser, ScoreOfDenoiser) and not denoiser.differentiable:
            raise NumericsError(f"'{denoiser.kind}': its answers cannot be differentiated, expected a score that can.")
        if denoiser.card.get("unconditional") is False:
            raise NumericsError(
                f"'{denoiser.kind}': cannot be asked without labels, which would leak; take another score."
            )
        if not 0 < sigma < math.inf:
            raise NumericsError(f"sigma: got {sigma}, expected a finite noise level above 0 in [0, 1] pixel units.")
        if products < 1 or block < 0 or draws < 0:
            raise NumericsError(
                f"denoiser tangents: got {products} products, blocks of {block}, {draws} draws; expected at "
                "least 1, 0, 0."
            )
        self.denoiser, self.sigma, self.rank, self.tolerance = denoiser, sigma, rank, tolerance
        self.products, self.draws, self.soft, self.seed = products, draws, soft, seed
        self.at_reconstruction = at_reconstruction
        self._width = min(d, block or max(_FEWEST, -(-(self._most + _FEWEST) // _FEWEST)))
        if self._width * products < self._most:
            raise NumericsError(
                f"denoiser tangents: {products} products of {self._width} vectors span no {self._most} directions; ask "
                "for more products."
            )

    @property
    def max_rank(self) -> int:
        """The rank that was asked for, or the largest that the rule may choose."""
        return self._most

    @property
    def card(self) -> Mapping[str, Any]:
        """Kind, options and the card of the denoiser."""
        own = {
            n: getattr(self, n)
            for n in ("sigma", "rank", "tolerance", "products", "draws", "at_reconstruction", "soft", "seed")
        }
        return {"kind": self.kind, **own, "width": self._width, "most": self._most, "score": dict(self.denoiser.card)}

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at x (N, C, H, W), basis in the dtype of x; without `ids` images are counted from 0."""
        ids = torch.arange(len(x), device=x.device) if ids is None else ids
        numbers = self._width * math.prod(x.shape[1:])
        size = chunk_bytes(x.device) // (x.element_size() * _ACTIVATIONS * numbers + 4 * 8 * numbers)
        return TangentSpace.concatenate([self._at(x[part], ids[part], part.start) for part in chunks(x, size)])

    @property
    def where(self) -> str:
        """Where the Jacobian is taken, in words."""
        at = "D(x; σ)" if self.at_reconstruction else "the image"
        return f"mean over {self.draws} draws of the σ-ball around {at}" if self.draws else f"at {at}"

    def retract(self, x: Tensor) -> Tensor:
        """D(x; σ) of images (N, C, H, W)."""
        with torch.no_grad():
            return self.denoiser.denoise(x, self.sigma)

    def _at(self, x: Tensor, ids: Tensor, start: int) -> TangentSpace:
        n, d = flat(x).shape
        basis, product = (torch.zeros(n, d, 0, dtype=torch.float64, device=x.device) for _ in range(2))
        block = Draw(self.seed, ids, "denoiser tangents").normal((d, self._width), torch.float64)
        value, point = x, self.retract(x) if self.at_reconstruction else x
        for _ in range(self.products):
            more = _beyond(basis, block)
            if not bool(more.any()):
                break  # J leads nowhere else: the space is whole
            value, found = self._product(point, ids, more.to(x.dtype), start)
            block = found.double()
            basis, product = torch.cat([basis, more], 2), torch.cat([product, block], 2)
        if not bool(product.any()):
            raise NumericsError(
                f"'{self.denoiser.kind}': its Jacobian is zero, so there is no tangent space; look for detach or "
                "rounding in it, or ask at a larger sigma."
            )
        missing = (0, max(0, self._most - basis.shape[2]))
        basis, product = functional.pad(basis, missing), functional.pad(product, missing)
        small = basis.mT @ product
        eigenvalues, turn = torch.linalg.eigh((small + small.mT) / 2)
        eigenvalues, turn = eigenvalues.flip(1)[:, :d], turn.flip(2)
        rank = choose_rank(eigenvalues, self.rank, self._most, self.tolerance)
        vectors = (basis @ turn[:, :, : self._most]).to(x.dtype)
        weights = eigenvalues[:, : self._most].clamp(0, 1)
        kept = torch.arange(self._most, device=x.device) < rank[:, None]
        return TangentSpace(
            vectors * kept[:, None, :],
            rank,
            eigenvalues,
            weights=weights * kept if self.soft else None,
            base=point if self.at_reconstruction else value,
            residual=(flat(x) - flat(point if self.at_reconstruction else value)).double().square().sum(1).sqrt(),
            asymmetry=_size(small - small.mT) / _size(small + small.mT),
        )

    def _product(self, x: Tensor, ids: Tensor, basis: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """D(x; σ) and J V for the columns V of basis (N, d, q), (N, d, q); J averaged over the draws."""
        vectors = basis.mT.reshape(len(x), -1, *x.shape[1:]).contiguous()

        def denoise(x: Tensor) -> Tensor:
            return self.denoiser.denoise(x, self.sigma)

        if not self.draws:
            value, found = pushforward(denoise, x, vectors)
        else:
            with torch.no_grad():
                value, found = denoise(x), torch.zeros_like(vectors)
            for number in range(self.draws):
                noise = Draw(self.seed, ids, f"denoiser tangents, draw {number}").normal(x.shape[1:], x.dtype)
                found += pushforward(denoise, x + self.sigma * noise, vectors)[1] / self.draws
        refuse_bad(found, start, f"the Jacobian of '{self.denoiser.kind}'")
        return value, found.flatten(2).mT


def _beyond(basis: Tensor, block: Tensor) -> Tensor:
    """Orthonormal directions of `block` (N, d, q) that `basis` (N, d, m) lacks; zero where there are fewer than q."""
    size = block.abs().amax((1, 2), keepdim=True)
    for _ in range(2):  # twice is enough
        block = block - basis @ (basis.mT @ block)
    block = block.where(block.square().sum(1, keepdim=True).sqrt() > _NOTHING * size, 0.0)
    found = orthonormal(block)[0]
    return found - basis @ (basis.mT @ found)


def _size(matrices: Tensor) -> Tensor:
    return matrices.square().sum((1, 2)).sqrt()
