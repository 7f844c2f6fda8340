"""How alike two sets of pictures are: the unbiased kernel distance, named by the features that it is taken in."""

from __future__ import annotations

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
        standard_error: of the value, by a jackknife over 20 random blocks of pictures on each side.
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
    own_a, own_b, cross = _block_sums(a, a, seed), _block_sums(b, b, seed), _block_sums(a, b, seed)
    everything = torch.ones(_BLOCKS, dtype=torch.bool)
    left_out = [_discrepancy(own_a, own_b, cross, everything & (torch.arange(_BLOCKS) != k)) for k in range(_BLOCKS)]
    spread = torch.tensor(left_out).var(correction=0) * (_BLOCKS - 1)
    return KID(_discrepancy(own_a, own_b, cross, everything), float(spread.sqrt()), features, (len(a), len(b)))


@dataclass(frozen=True)
class _Sums:
    """Sums of the kernel over pairs of blocks (B, B), of its diagonal over blocks (B,), and the sizes of the blocks."""

    pairs: Tensor
    diagonal: Tensor
    sizes: tuple[Tensor, Tensor]


def _blocks(rows: Tensor, seed: int) -> list[Tensor]:
    return list(rows[permutation(len(rows), seed, "KID")].tensor_split(_BLOCKS))


def _block_sums(a: Tensor, b: Tensor, seed: int) -> _Sums:
    """The kernel is never held whole: one pair of blocks at a time."""
    first, second, width = _blocks(a, seed), _blocks(b, seed), a.shape[1]
    pairs = torch.stack([torch.stack([((p @ q.mT / width + 1) ** 3).sum() for q in second]) for p in first])
    diagonal = torch.stack([((p.square().sum(1) / width + 1) ** 3).sum() for p in first])
    sizes = tuple(torch.tensor([len(block) for block in side]) for side in (first, second))
    return _Sums(pairs, diagonal, (sizes[0], sizes[1]))


def _discrepancy(own_a: _Sums, own_b: _Sums, cross: _Sums, kept: Tensor) -> float:
    """Of the kept blocks: mean kernel within a and within b, pairs of different pictures, less twice that across."""

    def within(sums: _Sums) -> float:
        n = int(sums.sizes[0][kept].sum())
        return float(sums.pairs[kept][:, kept].sum() - sums.diagonal[kept].sum()) / (n * (n - 1))

    n, m = (int(size[kept].sum()) for size in cross.sizes)
    return within(own_a) + within(own_b) - 2 * float(cross.pairs[kept][:, kept].sum()) / (n * m)
