"""How near a picture is to the truth, one number for each image."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import flat


def psnr(x: Tensor, truth: Tensor) -> Tensor:
    """10 log₁₀(1 / mean squared error) of each image, pixels in [0, 1], (N, C, H, W) twice to (N,), decibels.

    Higher is better; +∞ for equal images. White noise of σ has −20 log₁₀ σ (12.04 dB at 0.25).

    Example:
        >>> import torch
        >>> psnr(torch.full((1, 1, 4, 4), 0.6), torch.full((1, 1, 4, 4), 0.5))
        tensor([20.0000])
    """
    _check(x, truth)
    return -10 * flat(x - truth).double().square().mean(1).log10().to(x.dtype)


def noise_cosine(pictures: Tensor, start: Tensor, truth: Tensor) -> Tensor:
    """Cosine of what a restoration changed with what it should have, (N,) float64; NaN where nothing changed."""
    moved, wanted = flat(pictures - start).double(), flat(truth - start).double()
    return torch.nn.functional.cosine_similarity(moved, wanted, dim=1).where(moved.norm(dim=1) > 0, torch.nan)


def _check(x: Tensor, truth: Tensor) -> None:
    if x.dim() != 4 or x.shape != truth.shape:
        raise NumericsError(f"images: got {tuple(x.shape)} and {tuple(truth.shape)}, expected equal (N, C, H, W).")
