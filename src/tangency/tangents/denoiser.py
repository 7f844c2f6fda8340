"""Tangent spaces as the leading eigenvectors of a denoiser's Jacobian, by a block Krylov iteration."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
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
from tangency.tangents.autoencoders.spaces import refuse_bad
from tangency.tangents.space import TangentSpace, chunks
from tangency.tangents.spectrum import Rank, choose_rank, orthonormal

_FEWEST = 4  # vectors of a block
_NOTHING = 1e-5  # of a block: what is left of it after projection is rounding below this share
_ACTIVATIONS = 64  # numbers that a network holds for each pixel of each vector, about


@dataclass(frozen=True)
class KrylovOptions:
    """How the leading eigenvectors are computed.

    Args:
        sigma: small beside the features of the data, large enough for the network: not below its range of training.
        rank: a number, or a rule of `choose_rank` over the eigenvalues.
        most: largest rank that a rule may choose.
        tolerance: of the rule "relative": a half, so that a direction counts where half of the variance is signal.
        products: of J with a block, at least 1. Many products of a small block converge faster than few of a large one,
            which fills a machine better.
        block: vectors of a block; 0 for a quarter of the rank and a little more.
        draws: 0 takes J at a point; more average it over as many draws of the σ-ball around it.
        at_reconstruction: whether that point is D(x; σ) instead of x.
        soft: weigh each direction by its eigenvalue, cut to [0, 1], instead of by 1.
        seed: of the first vectors and the draws; images are distinguished by `ids`.
    """

    sigma: float = 0.1
    rank: Rank = 12
    most: int = 32
    tolerance: float = 0.5
    products: int = 14
    block: int = 0
    draws: int = 0
    at_reconstruction: bool = False
    soft: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise NumericsError(
                f"sigma: got {self.sigma}, expected a finite noise level above 0 in [0, 1] pixel units."
            )
        if self.products < 1 or self.block < 0 or self.draws < 0:
            raise NumericsError(
                f"denoiser tangents: got {self.products} products, blocks of {self.block}, {self.draws} draws; "
                "expected at least 1, 0, 0."
            )


@final
class DenoiserTangents:
    """Leading eigenvectors of (J + Jᵀ)/2, J = ∂D(x; σ)/∂x, whose eigenvalues are Var[x₀ | x]/σ² along them.

    They are about 1 along the manifold and 0 off it where σ is far below the reach and the extent of the data
    (tangent over normal is about 2/(kσ²) on a unit sphere). A random block V of few vectors is multiplied by J in
    forward mode, `products` times over, which spans V, JV, J²V, … (a block Krylov space); the Rayleigh–Ritz pairs
    of the symmetric part in it are the result. Each product costs two evaluations of D a vector. `asymmetry` of the
    tangent space says how far J is from symmetric there: a network is not quite a gradient.

    Args:
        denoiser: differentiable; evaluated in the precision of the images.
        options: noise level, rank and iteration.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?shape=1x4x4&rank=3")
        >>> x = world.sample(2, seed=0).x
        >>> DenoiserTangents(world, KrylovOptions(sigma=0.02, rank="drop")).at(x).rank.tolist()
        [3, 3]

    Source: eigenvectors of denoisers: Kadkhodaie et al., arXiv 2310.02557; the iteration: Musco & Musco, arXiv
    1504.05477. Without a rank: FLIPD, `tangency.score.diagnose`.
    """

    kind = "denoiser"

    def __init__(self, denoiser: Denoiser, options: KrylovOptions | None = None) -> None:
        options, d = options or KrylovOptions(), math.prod(denoiser.shape)
        self.max_rank = options.rank if isinstance(options.rank, int) else min(options.most, d - 1)
        check_rank(self.max_rank, d)
        if isinstance(denoiser, ScoreOfDenoiser) and not denoiser.differentiable:
            raise NumericsError(f"'{denoiser.kind}': its values cannot be differentiated, expected a score that can.")
        if denoiser.card.get("unconditional") is False:
            raise NumericsError(f"'{denoiser.kind}': needs labels, which would leak; take another score.")
        self.denoiser, self.options = denoiser, options
        self._width = min(d, options.block or max(_FEWEST, -(-(self.max_rank + _FEWEST) // _FEWEST)))
        if self._width * options.products < self.max_rank:
            raise NumericsError(
                f"denoiser tangents: {options.products} products of {self._width} vectors span no {self.max_rank} "
                "directions; ask for more products."
            )

    @property
    def card(self) -> Mapping[str, Any]:
        """Kind, options and the card of the denoiser."""
        own = dataclasses.asdict(self.options)
        own |= {"width": self._width, "most": self.max_rank}
        del own["block"]
        return {"kind": self.kind, **own, "score": dict(self.denoiser.card)}

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at x (N, C, H, W), basis in the dtype of x; without `ids` images are counted from 0."""
        ids = torch.arange(len(x), device=x.device) if ids is None else ids
        numbers = self._width * math.prod(x.shape[1:])
        size = chunk_bytes(x.device) // (x.element_size() * _ACTIVATIONS * numbers + 4 * 8 * numbers)
        return TangentSpace.concatenate([self._at(x[part], ids[part], part.start) for part in chunks(x, size)])

    @property
    def where(self) -> str:
        """Where the Jacobian is taken, in words."""
        at, draws = "D(x; σ)" if self.options.at_reconstruction else "the image", self.options.draws
        return f"mean over {draws} draws of the σ-ball around {at}" if draws else f"at {at}"

    def retract(self, x: Tensor) -> Tensor:
        """D(x; σ) of images (N, C, H, W)."""
        with torch.no_grad():
            return self.denoiser.denoise(x, self.options.sigma)

    def _at(self, x: Tensor, ids: Tensor, start: int) -> TangentSpace:
        d, options = flat(x).shape[1], self.options
        point = self.retract(x) if options.at_reconstruction else x
        basis, product, value = self._krylov(point, ids, start)
        missing = (0, max(0, self.max_rank - basis.shape[2]))
        basis, product = functional.pad(basis, missing), functional.pad(product, missing)
        small = basis.mT @ product
        eigenvalues, turn = torch.linalg.eigh((small + small.mT) / 2)
        eigenvalues, turn = eigenvalues.flip(1)[:, :d], turn.flip(2)
        rank = choose_rank(eigenvalues, options.rank, self.max_rank, options.tolerance)
        vectors = (basis @ turn[:, :, : self.max_rank]).to(x.dtype)
        kept = torch.arange(self.max_rank, device=x.device) < rank[:, None]
        base = point if options.at_reconstruction else value
        return TangentSpace(
            vectors * kept[:, None, :],
            rank,
            eigenvalues,
            weights=eigenvalues[:, : self.max_rank].clamp(0, 1) * kept if options.soft else None,
            base=base,
            residual=(flat(x) - flat(base)).double().square().sum(1).sqrt(),
            asymmetry=_size(small - small.mT) / _size(small + small.mT),
        )

    def _krylov(self, point: Tensor, ids: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """An orthonormal basis Q (N, d, m) of the block Krylov space, J Q, and D(point; σ)."""
        n, d = flat(point).shape
        basis, product = (torch.zeros(n, d, 0, dtype=torch.float64, device=point.device) for _ in range(2))
        block = Draw(self.options.seed, ids, "denoiser tangents").normal((d, self._width), torch.float64)
        value = point
        for _ in range(self.options.products):
            more = _beyond(basis, block)
            if not bool(more.any()):
                break  # J leads nowhere else: the space is whole
            value, image = self._product(point, ids, more.to(point.dtype), start)
            block = image.double()
            basis, product = torch.cat([basis, more], 2), torch.cat([product, block], 2)
        if not bool(product.any()):
            raise NumericsError(
                f"'{self.denoiser.kind}': its Jacobian is zero, so there is no tangent space; look for detach or "
                "rounding in it, or ask at a larger sigma."
            )
        return basis, product, value

    def _product(self, x: Tensor, ids: Tensor, basis: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """D(x; σ) and J V for the columns V of basis (N, d, q), (N, d, q); J averaged over the draws."""
        vectors = basis.mT.reshape(len(x), -1, *x.shape[1:]).contiguous()

        def denoise(x: Tensor) -> Tensor:
            return self.denoiser.denoise(x, self.options.sigma)

        sigma, draws = self.options.sigma, self.options.draws
        if not draws:
            value, images = pushforward(denoise, x, vectors)
        else:
            with torch.no_grad():
                value, images = denoise(x), torch.zeros_like(vectors)
            for number in range(draws):
                noise = Draw(self.options.seed, ids, f"denoiser tangents, draw {number}").normal(x.shape[1:], x.dtype)
                images += pushforward(denoise, x + sigma * noise, vectors)[1] / draws
        refuse_bad(images, start, f"the Jacobian of '{self.denoiser.kind}'")
        return value, images.flatten(2).mT


def _beyond(basis: Tensor, block: Tensor) -> Tensor:
    """Orthonormal directions of `block` (N, d, q) that `basis` (N, d, m) lacks; zero where there are fewer than q."""
    size = block.abs().amax((1, 2), keepdim=True)
    for _ in range(2):  # twice is enough
        block = block - basis @ (basis.mT @ block)
    block = block.where(block.square().sum(1, keepdim=True).sqrt() > _NOTHING * size, 0.0)
    directions = orthonormal(block)[0]
    return directions - basis @ (basis.mT @ directions)


def _size(matrices: Tensor) -> Tensor:
    return matrices.square().sum((1, 2)).sqrt()
