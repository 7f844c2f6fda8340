"""Spatial frequencies: cosine within a band, a gradient of random phases, and the high-pass of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.perceptual.structural import blurred, gaussian_kernel
from tangency.seeding import Draw

# Edges of the radial frequency bands, in per cent of the Nyquist frequency; the last holds the corners too.
BANDS = ((0, 25), (25, 50), (50, 75), (75, 142))
EDGE_BLUR = 1.0  # σ in pixels
_EMPTY = 1e-20  # share of the energy under which a band holds rounding errors only; for float32 that is (4 × 1.2e-7)²


def radial_frequency(height: int, width: int) -> Tensor:
    """|f| of each coefficient of `rfft2`, in per cent of the Nyquist frequency, (H, W // 2 + 1) float64.

    Half a cycle a pixel along one axis is 100; the corners of a square picture are at 141.4.
    """
    u, v = torch.fft.fftfreq(height, dtype=torch.float64), torch.fft.rfftfreq(width, dtype=torch.float64)
    radius: Tensor = 200 * (u[:, None].square() + v.square()).sqrt()
    return radius


def band_cosines(a: Tensor, b: Tensor) -> Tensor:
    """Re⟨â, b̂⟩_B / (‖â‖_B ‖b̂‖_B) over the Fourier coefficients of each radial band B, all channels.

    Args:
        a, b: (N, C, H, W), of any scale.

    Returns:
        (N, 4) float64 in [−1, 1]: bands of 0–25, 25–50, 50–75 and 75–142 per cent of the Nyquist frequency. NaN where a
        band of either signal holds rounding errors only: less than 1e-20 of its energy, or 2e-13 in float32.

    Raises:
        NumericsError: for shapes that differ or are no pictures.

    Example:
        >>> wave = torch.cos(torch.arange(16) * torch.pi / 4).expand(1, 1, 16, 16)
        >>> band_cosines(wave, -wave).round(decimals=6).tolist()
        [[nan, -1.0, nan, nan]]

    Source: Parseval's theorem: with one band for all frequencies this is the signed cosine of the pixels.
    """
    if a.shape != b.shape or a.dim() != 4:
        raise NumericsError(
            f"band cosine: got shapes {tuple(a.shape)} and {tuple(b.shape)}, expected equal (N, C, H, W)."
        )
    height, width = a.shape[2:]
    masks = _band_masks(height, width).to(a.device)
    first, second = (torch.fft.rfft2(x.double(), norm="ortho") for x in (a, b))

    def inner(p: Tensor, q: Tensor) -> Tensor:
        return torch.einsum("nchw,bhw->nb", (p.conj() * q).real, masks)

    energies = [inner(x, x) for x in (first, second)]
    empty = max(_EMPTY, *(16 * torch.finfo(x.dtype).eps ** 2 for x in (a, b)))
    held = [energy.where(energy > empty * energy.sum(1, keepdim=True), torch.nan) for energy in energies]
    return (inner(first, second) / (held[0].sqrt() * held[1].sqrt())).clamp(-1, 1)


def _band_masks(height: int, width: int) -> Tensor:
    """(bands, H, W // 2 + 1): 0 outside a band, else how often the coefficient occurs in the whole transform."""
    radius = radial_frequency(height, width)
    column = torch.arange(width // 2 + 1)
    times = 2.0 - ((column == 0) | (2 * column == width)).double()
    return torch.stack([((radius >= low) & (radius < high)) * times for low, high in BANDS])


def phase_randomised(signal: Tensor, draw: Draw) -> Tensor:
    """The signal with the phases of white noise: the same power spectrum in every channel, and no other structure.

    One noise picture for all channels, so that spectra between channels are kept too.

    Args:
        signal: (N, C, H, W).
        draw: of the N images.

    Returns:
        (N, C, H, W) in the signal's dtype.

    Source: Theiler et al., "Testing for nonlinearity in time series: the method of surrogate data", 1992.
    """
    noise = torch.fft.rfft2(draw.normal((1, *signal.shape[2:]), torch.float64))
    turned = torch.fft.rfft2(signal.double()) * (noise / noise.abs())
    real: Tensor = torch.fft.irfft2(turned, s=signal.shape[2:])
    return real.to(signal.dtype)


def high_pass(x: Tensor) -> Tensor:
    """−(x − blur(x)) with a Gaussian blur of 1 pixel, edges repeated, (N, C, H, W): the score that any image has.

    For Gaussian data D(x) − x, the score times σ², is such a high-pass of the image itself.
    """
    return blurred(x, gaussian_kernel(EDGE_BLUR, 7, x.device), "replicate") - x
