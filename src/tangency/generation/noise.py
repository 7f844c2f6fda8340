"""How much noise an image has, from the image alone."""

from __future__ import annotations

from torch import Tensor

from tangency.errors import NumericsError

_QUARTILE = 0.6744897501960817  # of the absolute value of a standard normal number: its median


def estimate_noise(x: Tensor) -> Tensor:
    """σ̂ = median |(a − b − c + d)/2| / 0.6745 over 2×2 blocks: the finest diagonal Haar coefficients, (N,).

    Unbiased for white Gaussian noise on an image that is linear over most blocks; fine texture reads as noise, and
    noise that was clipped at black or white is underestimated (so give it images before they are clipped).

    Args:
        x: (N, C, H, W), sides of at least 2 pixels; an odd last row or column is left out.

    Returns:
        (N,) in the unit of x.

    Source: Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994.

    Example:
        >>> import torch
        >>> from tangency.seeding import Draw
        >>> noise = 0.2 * Draw(0, torch.arange(3)).normal((1, 64, 64))
        >>> bool(((estimate_noise(0.5 + noise) - 0.2).abs() < 0.02).all())
        True
    """
    if x.dim() != 4 or min(x.shape[2:]) < 2:
        raise NumericsError(f"noise level: got shape {tuple(x.shape)}, expected (N, C, H, W) with sides of at least 2.")
    height, width = (side - side % 2 for side in x.shape[2:])
    a, b = x[:, :, 0:height:2, 0:width:2], x[:, :, 0:height:2, 1:width:2]
    c, d = x[:, :, 1:height:2, 0:width:2], x[:, :, 1:height:2, 1:width:2]
    detail = ((a - b - c + d) / 2).flatten(1).abs()
    return detail.median(1).values / _QUARTILE
