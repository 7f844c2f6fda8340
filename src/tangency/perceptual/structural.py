"""Structural similarity of pictures."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.errors import NumericsError

WINDOW, SIGMA = 11, 1.5


def ssim(a: Tensor, b: Tensor, value_range: float = 2.0) -> Tensor:
    """SSIM = mean of (2μ_aμ_b + C₁)(2σ_ab + C₂)/((μ_a² + μ_b² + C₁)(σ_a² + σ_b² + C₂)) over windows and channels.

    Args:
        a, b: (N, C, H, W).
        value_range: L, the width of the range of their values, 2 for [−1, 1]; C₁ = (0.01 L)², C₂ = (0.03 L)².

    Returns:
        (N,) float64 in [−1, 1]; 1 for equal pictures.

    Raises:
        NumericsError: for shapes that differ or are no pictures.

    Example:
        >>> picture = torch.rand(1, 1, 16, 16) * 2 - 1
        >>> [round(float(ssim(picture, other)), 3) for other in (picture, torch.zeros_like(picture))][0]
        1.0

    Source: Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment", 2004: Gaussian windows of 11 × 11 pixels and
    σ = 1.5, K = (0.01, 0.03), one around every pixel. As in torchmetrics, whose values it has, the
    picture is mirrored at its border.
    Deviation: for a side under 6 pixels the window shrinks to 2·side − 1, as far as a mirror reaches, with the same σ.
    """
    if a.shape != b.shape or a.dim() != 4:
        raise NumericsError(f"SSIM: got shapes {tuple(a.shape)} and {tuple(b.shape)}, expected equal (N, C, H, W).")
    a, b = a.double(), b.double()
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    mean_a, mean_b = _blurred(a), _blurred(b)
    # Jensen's inequality holds of the exact sums; rounding may break it
    var_a, var_b = ((_blurred(x.square()) - mean.square()).clamp(min=0) for x, mean in ((a, mean_a), (b, mean_b)))
    covariance = _blurred(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    return (luminance * (2 * covariance + c2) / (var_a + var_b + c2)).flatten(1).mean(1)


def _blurred(x: Tensor) -> Tensor:
    """Gaussian means over the window around every pixel, each channel for itself."""
    width = min(WINDOW, 2 * min(x.shape[2:]) - 1)
    return blurred(x, gaussian_kernel(SIGMA, width, x.device), "reflect")


def blurred(x: Tensor, kernel: Tensor, border: Literal["reflect", "replicate"]) -> Tensor:
    """Each channel of (N, C, H, W) convolved along both axes with a kernel of odd width; the border is continued."""
    n, channels, height, width = x.shape
    radius, kernel = len(kernel) // 2, kernel.to(x)
    padded = F.pad(x, (radius, radius, radius, radius), mode=border)
    planes = padded.reshape(n * channels, 1, height + 2 * radius, width + 2 * radius)
    rows = F.conv2d(planes, kernel.reshape(1, 1, -1, 1))
    return F.conv2d(rows, kernel.reshape(1, 1, 1, -1)).reshape(x.shape)


@cache
def gaussian_kernel(sigma: float, width: int, device: torch.device) -> Tensor:
    """exp(−t²/2σ²) at an odd number of pixels around 0, summing to 1, (width,) float64; made once for a device."""
    with torch.inference_mode(False):
        at = torch.arange(width, dtype=torch.float64, device=device) - width // 2
        weights = (-at.square() / (2 * sigma**2)).exp()
        return weights / weights.sum()
