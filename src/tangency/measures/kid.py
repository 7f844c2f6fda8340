"""How alike two sets of pictures are: the unbiased kernel distance, named by the features that it is taken in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.measures.lpips import LPIPS
from tangency.seeding import permutation

FEWEST = 1000  # pictures a side, below which the number says little
_BLOCKS = 20


@dataclass(frozen=True)
class KID:
    """Unbiased squared maximum mean discrepancy with the kernel (fᵀg/D + 1)³.

    Args:
        value: 0 in expectation for two samples of one law; it may be negative.
        standard_error: over random blocks of pictures.
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


def kid(a: Tensor, b: Tensor, features: str, seed: int = 0) -> KID:
    """Of features (N, D) and (M, D), float64.

    Args:
        a, b: at least 1,000 rows each.
        features: their name ("alexnet-lpips").
        seed: of the blocks of the standard error.

    Source: Bińkowski et al., "Demystifying MMD GANs", arXiv 1801.01401.
    """
    if min(len(a), len(b)) < FEWEST:
        raise NumericsError(
            f"KID: got {len(a)} and {len(b)} pictures, expected at least {FEWEST} a side: ask for more samples."
        )
    if a.shape[1:] != b.shape[1:]:
        raise NumericsError(f"KID: got features {tuple(a.shape)} and {tuple(b.shape)}, expected the same width.")
    size = min(len(a), len(b)) // _BLOCKS
    first = a[permutation(len(a), seed, "KID", 0)[: size * _BLOCKS]].split(size)
    second = b[permutation(len(b), seed, "KID", 1)[: size * _BLOCKS]].split(size)
    blocks = torch.tensor([_discrepancy(p, q) for p, q in zip(first, second, strict=True)])
    return KID(_discrepancy(a, b), float(blocks.std() / math.sqrt(_BLOCKS)), features, (len(a), len(b)))


def _discrepancy(a: Tensor, b: Tensor) -> float:
    n, m, width = len(a), len(b), a.shape[1]

    def kernel(p: Tensor, q: Tensor) -> Tensor:
        return (p @ q.mT / width + 1) ** 3

    own_a, own_b = kernel(a, a), kernel(b, b)
    within = (own_a.sum() - own_a.trace()) / (n * (n - 1)) + (own_b.sum() - own_b.trace()) / (m * (m - 1))
    return float(within - 2 * kernel(a, b).mean())
