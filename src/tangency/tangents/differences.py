"""Tangent spaces from differences of a denoiser's answers around an image: no derivative is taken."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import at_once, check_rank, flat
from tangency.score import Denoiser
from tangency.seeding import Draw
from tangency.tangents.autoencoders.spaces import refuse_bad
from tangency.tangents.space import TangentSpace, chunks
from tangency.tangents.spectrum import Rank, choose_rank, orthonormal

_MOST = 2048  # noisy images at once
_EACH = 4  # differences to a direction, where their number is left open


@dataclass(frozen=True)
class DifferenceOptions:
    """How many differences are taken, and at which noise.

    Args:
        sigma: of the noise and of the denoiser, small beside the features and the reach of the data.
        rank: a number, or a rule of `choose_rank` over the singular values ("gap": where their ratio is largest).
        most: largest rank that a rule may choose.
        tolerance: of the rules "relative" and "damped".
        samples: differences an image, at least the rank; 0 for four times as many.
        central: take D(x + σn) − D(x − σn), which curvature does not tilt to first order, at twice the evaluations.
        seed: of the noise; images are distinguished by `ids`.
    """

    sigma: float = 0.1
    rank: Rank = 12
    most: int = 32
    tolerance: float = 0.5
    samples: int = 0
    central: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf or self.samples < 0:
            raise NumericsError(
                f"denoiser-differences: got σ = {self.sigma} and {self.samples} samples, expected a finite noise level "
                "above 0 in [0, 1] pixel units and at least 0."
            )


@final
class DenoiserDifferences:
    """Left singular vectors of the differences D(x + σnⱼ; σ) − D(x; σ), nⱼ ~ N(0, I), j = 1 … samples.

    To first order a difference is σJnⱼ, J = ∂D/∂x, a random vector of J's range, which is the tangent space where σ is
    small: differences are a randomised range finder without a Jacobian, so any denoiser will do, also one that cannot
    be differentiated. Singular values over σ√samples estimate J's, to ±√(rank/samples). Costs samples + 1
    evaluations an image (twice the samples if `central`), where `DenoiserTangents` takes about 112 at rank 12.

    Args:
        denoiser: evaluated in the precision of the images.
        options: noise level, rank, number of differences.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?shape=1x4x4&rank=3")
        >>> x = world.sample(2, seed=0).x
        >>> DenoiserDifferences(world, DifferenceOptions(sigma=0.02, rank="gap", most=6)).at(x).rank.tolist()
        [3, 3]

    Source: the range finder: Halko, Martinsson & Tropp, SIAM Review 53 (2011), algorithm 4.1.
    """

    kind, where = "denoiser-differences", "over the σ-ball around the image"

    def __init__(self, denoiser: Denoiser, options: DifferenceOptions | None = None) -> None:
        options, d = options or DifferenceOptions(), math.prod(denoiser.shape)
        self.max_rank = options.rank if isinstance(options.rank, int) else min(options.most, d - 1)
        check_rank(self.max_rank, d)
        if denoiser.card.get("unconditional") is False:
            raise NumericsError(f"'{denoiser.kind}': needs labels, which would leak; take another score.")
        self.samples = options.samples or _EACH * self.max_rank
        if self.samples < self.max_rank:
            raise NumericsError(
                f"denoiser-differences: {self.samples} differences span no {self.max_rank} directions; ask for more "
                "samples."
            )
        self.denoiser, self.options = denoiser, options

    @property
    def card(self) -> Mapping[str, Any]:
        """Kind, options and the card of the denoiser."""
        own = dataclasses.asdict(self.options) | {"samples": self.samples, "most": self.max_rank}
        return {"kind": self.kind, **own, "score": dict(self.denoiser.card)}

    @property
    def evaluations(self) -> int:
        """Evaluations of the denoiser an image."""
        return 2 * self.samples + 1 if self.options.central else self.samples + 1

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at x (N, C, H, W), basis in the dtype of x; without `ids` images are counted from 0."""
        ids = torch.arange(len(x), device=x.device) if ids is None else ids
        size = at_once(x.shape, _MOST) // self.evaluations
        with torch.no_grad():
            return TangentSpace.concatenate([self._at(x[part], ids[part], part.start) for part in chunks(x, size)])

    def retract(self, x: Tensor) -> Tensor:
        """D(x; σ) of images (N, C, H, W)."""
        with torch.no_grad():
            return self.denoiser.denoise(x, self.options.sigma)

    def _at(self, x: Tensor, ids: Tensor, start: int) -> TangentSpace:
        options, base = self.options, self.retract(x)
        noise = Draw(options.seed, ids, self.kind).normal((self.samples, *x.shape[1:]), x.dtype)
        ahead = self._answers(x[:, None] + options.sigma * noise)
        behind = self._answers(x[:, None] - options.sigma * noise) if options.central else base[:, None]
        columns = (ahead - behind).flatten(2).mT / (options.sigma * math.sqrt(self.samples) * (1 + options.central))
        refuse_bad(columns, start, f"the answer of '{self.denoiser.kind}'")
        if columns.shape[2] > columns.shape[1]:  # of B = RᵀQᵀ the left singular vectors are those of Rᵀ
            columns = torch.linalg.qr(columns.double().mT, mode="r").R.mT
        basis, values = orthonormal(columns)
        rank = choose_rank(values, options.rank, self.max_rank, options.tolerance)
        space = TangentSpace(basis[:, :, : self.max_rank].to(x.dtype), rank).cut(rank)
        residual = (flat(x) - flat(base)).double().square().sum(1).sqrt()
        return dataclasses.replace(space, spectrum=values, base=base, residual=residual)

    def _answers(self, x: Tensor) -> Tensor:
        """D of (n, q, C, H, W), in parts."""
        rows = x.flatten(0, 1)
        parts = torch.split(rows, at_once(rows.shape, _MOST))
        return torch.cat([self.denoiser.denoise(part, self.options.sigma) for part in parts]).reshape(x.shape)
