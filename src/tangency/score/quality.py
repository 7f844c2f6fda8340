"""How good a score is: its denoising error on held-out images, and whether its samples copy training images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.data.search import Neighbours
from tangency.errors import NumericsError
from tangency.numerics import flat
from tangency.score.denoiser import Denoiser
from tangency.seeding import Draw
from tangency.types import LabelledImages


def check_positive(sigma: float) -> None:
    """Raise unless σ is positive: there is nothing to denoise at 0."""
    if not sigma > 0:
        raise NumericsError(f"sigma: got {sigma}, expected a positive noise level in [0, 1] pixel units.")


def noised(x: Tensor, ids: Tensor, sigma: float, seed: int) -> Tensor:
    """x + σn with the noise of each image a function of (seed, its index, σ), dtype of x."""
    return x + sigma * Draw(seed, ids, f"denoising error at {sigma}").normal(x.shape[1:]).to(x.dtype)


@torch.no_grad()
def denoising_error(
    score: Denoiser,
    data: LabelledImages,
    sigma: float,
    *,
    seed: int = 0,
    conditional: bool = False,
    batch: int = 256,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Mean over pixels of ‖D(x + σn; σ) − x‖² for each image, in [0, 1]² units, (N,).

    The identity has σ² here, the least possible value is the conditional variance E Var[x₀ | x]/d. The noise of an
    image depends on the seed and its index only, so scores are compared on the same noise. The score is evaluated on
    `device`, the values are on the CPU.
    """
    check_positive(sigma)
    parts = []
    for ids in torch.split(torch.arange(len(data)), batch):
        x = data.images(ids)
        noisy = noised(x, ids, sigma, seed)
        y = data.labels[ids].to(device) if conditional else None
        estimate = score.denoise(noisy.to(device), sigma, y).cpu()
        parts.append(flat(estimate - x).square().mean(1))
    return torch.cat(parts) if parts else torch.zeros(0)


@dataclass(frozen=True)
class Nearest:
    """l2 distance to the nearest image, (N,) in [0, 1] pixel units, and its index, (N,)."""

    distance: Tensor
    index: Tensor


@torch.no_grad()
def nearest(pictures: Tensor, data: LabelledImages) -> Nearest:
    """Exact search over all images of `data` for pictures (N, C, H, W)."""
    index = Neighbours(data, pictures.device).of(pictures, 1)[:, 0]
    rows = flat(data.images(index.cpu())).to(pictures.device).double()
    return Nearest((rows - flat(pictures).double()).norm(dim=1), index)
