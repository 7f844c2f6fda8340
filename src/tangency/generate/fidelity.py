"""How near a picture is to the truth, one number for each image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.errors import NumericsError
from tangency.numerics import flat

_HALF, _SPREAD = 5, 1.5  # of SSIM: half the side of its window less ½, and the standard deviation of its Gaussian
_STABILISERS = (0.01, 0.03)


def psnr(x: Tensor, truth: Tensor) -> Tensor:
    """10 log₁₀(1 / mean squared error) of each image, pixels in [0, 1], (N, C, H, W) twice to (N,), decibels.

    Higher is better; +∞ for equal images. White noise of σ has −20 log₁₀ σ (12.04 dB at 0.25).

    Example:
        >>> psnr(torch.full((1, 1, 4, 4), 0.6), torch.full((1, 1, 4, 4), 0.5))
        tensor([20.0000])
    """
    _check(x, truth)
    return -10 * flat(x - truth).double().square().mean(1).log10().to(x.dtype)


def ssim(x: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each image, pixels in [0, 1], (N, C, H, W) twice to (N,) in [−1, 1]; 1 for equal images.

    Means, variances and covariances under an 11 × 11 Gaussian window of σ = 1.5 pixels about every pixel; images are
    reflected at their borders, as in torchmetrics (the original leaves the borders out).

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    _check(x, truth)
    if min(x.shape[2:]) <= _HALF:
        raise NumericsError(f"SSIM: got images of {tuple(x.shape[2:])} pixels, expected sides of at least {_HALF + 1}.")
    n, channels = x.shape[:2]
    a, b = (values.reshape(n * channels, 1, *values.shape[2:]).double() for values in (x, truth))
    moments = _smooth(torch.cat([a, b, a * a, b * b, a * b])).chunk(5)
    mean_a, mean_b = moments[0], moments[1]
    variance = moments[2] - mean_a**2 + moments[3] - mean_b**2
    covariance = moments[4] - mean_a * mean_b
    c1, c2 = (value**2 for value in _STABILISERS)
    share = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variance + c2))
    return share.reshape(n, -1).mean(1).to(x.dtype)


def _smooth(x: Tensor) -> Tensor:
    """Weighted means under the window, rows then columns."""
    place = torch.arange(-_HALF, _HALF + 1, dtype=x.dtype, device=x.device)
    weights = torch.exp(-((place / _SPREAD) ** 2) / 2)
    weights = weights / weights.sum()
    x = F.pad(x, (_HALF,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(x, weights.reshape(1, 1, -1, 1)), weights.reshape(1, 1, 1, -1))


def _check(x: Tensor, truth: Tensor) -> None:
    if x.dim() != 4 or x.shape != truth.shape:
        raise NumericsError(f"images: got {tuple(x.shape)} and {tuple(truth.shape)}, expected equal (N, C, H, W).")
