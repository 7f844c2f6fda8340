"""Signals as pictures: what maps a gradient of any size into the range that picture metrics expect."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nan
from torch.nn import functional as F

from tangency.errors import SpecError, unknown_name
from tangency.numerics import flat, per_example

RMS = 0.25  # of a picture normalised by "rms", in units of the range [−1, 1]
_PERCENTILE = 0.999


def _scaled(signal: Tensor, scale: Tensor) -> Tensor:
    """Each image divided by its scale (N,); NaN where the scale is zero."""
    return signal / per_example(scale.where(scale > 0, nan), signal)


def max_normalised(signal: Tensor) -> Tensor:
    """g / max|g| of each image, in [−1, 1], (N, C, H, W); NaN for a zero image. The paper's normalisation."""
    return _scaled(signal, flat(signal).abs().amax(1))


def percentile_normalised(signal: Tensor) -> Tensor:
    """g over the 99.9th percentile of |g|, cut to [−1, 1], (N, C, H, W); NaN where that percentile is zero.

    The percentile is the least magnitude that at least 99.9 % of the image's values do not exceed: the largest of all
    for fewer than 1,000 values.
    """
    magnitudes = flat(signal).abs()
    return _scaled(signal, magnitudes.kthvalue(math.ceil(_PERCENTILE * magnitudes.shape[1]), 1).values).clamp(-1, 1)


def deviation_normalised(signal: Tensor) -> Tensor:
    """g over 3 standard deviations of its values, cut to [−1, 1], (N, C, H, W); NaN for a constant image."""
    return _scaled(signal, 3 * flat(signal).std(1, correction=0)).clamp(-1, 1)


def rms_normalised(signal: Tensor) -> Tensor:
    """g with a root mean square of 0.25, (N, C, H, W), not cut to [−1, 1]; NaN for a zero image."""
    unit_peak = max_normalised(signal)
    return _scaled(unit_peak, flat(unit_peak).square().mean(1).sqrt() / RMS)


NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": max_normalised,
    "p99.9": percentile_normalised,
    "std3": deviation_normalised,
    "rms": rms_normalised,
}


def check_normalisations(names: tuple[str, ...]) -> None:
    """Raise unless the names are distinct normalisations, at least one."""
    for name in names:
        if name not in NORMALISATIONS:
            raise SpecError(unknown_name("normalisation", name, NORMALISATIONS))
    if not names or len(set(names)) < len(names):
        raise SpecError(f"normalisations: got {list(names)}, expected at least one, each once.")


def at_least(pictures: Tensor, side: int) -> Tensor:
    """Three-channel pictures whose shorter side is at least `side`, upsampled bilinearly if needed."""
    short = min(pictures.shape[2:])
    if short < side:
        size = [round(length * side / short) for length in pictures.shape[2:]]
        pictures = F.interpolate(pictures, size=size, mode="bilinear", align_corners=False)
    return pictures.expand(-1, 3, -1, -1)
