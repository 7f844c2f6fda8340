"""Similarity of two sets of pictures: the unbiased kernel distance of named features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.perceptual.lpips import LPIPS
from tangency.perceptual.mmd import discrepancy

FEWEST = 1000  # pictures a side, below which the estimate is too noisy


@dataclass(frozen=True)
class KID:
    """Unbiased squared maximum mean discrepancy with the kernel (fᵀg/D + 1)³.

    Args:
        value: 0 in expectation for two samples of one law; it may be negative.
        standard_error: of the value, from both orders of its variance (`mmd.Discrepancy.standard_error`), so that it
            holds for two samples of one law, of laws far apart, and between.
        features: name of the network that they were compared in.
        counts: pictures on each side.
    """

    value: float
    standard_error: float
    features: str
    counts: tuple[int, int]


@torch.no_grad()
def alexnet_features(pictures: Tensor, lpips: LPIPS, batch: int = 64) -> Tensor:
    """Mean over positions of the five normalised layers of LPIPS-Alex, (N, C, H, W) in [0, 1] to (N, 1,152)."""
    return lpips.pooled(2 * pictures.clamp(0, 1) - 1, batch).double()


def kid(a: Tensor, b: Tensor, features: str) -> KID:
    """Of features (N, D) and (M, D), float64.

    Args:
        a, b: at least 1,000 rows each.
        features: their name ("alexnet-lpips").

    Raises:
        NumericsError: for fewer rows, other widths, and features that are the same for every picture of both sides.

    Source: Bińkowski et al., "Demystifying MMD GANs", arXiv 1801.01401.
    """
    if min(len(a), len(b)) < FEWEST:
        raise NumericsError(
            f"KID: got {len(a)} and {len(b)} pictures, expected at least {FEWEST} a side: ask for more samples."
        )
    if a.shape[1:] != b.shape[1:]:
        raise NumericsError(f"KID: got features {tuple(a.shape)} and {tuple(b.shape)}, expected the same width.")
    distance = discrepancy(a, b)
    if not distance.standard_error > 0:
        raise NumericsError(
            "KID: the features are the same for every picture of both sides, expected some that differ: take another "
            "network for them."
        )
    return KID(distance.value, distance.standard_error, features, (len(a), len(b)))
