"""Starting points for EM: k-means++ centres, a few Lloyd steps, then probabilistic PCA of each cluster."""

from __future__ import annotations

import torch
from torch import Tensor

_LLOYD_STEPS = 5
_PCA_POINTS = 512  # points of a cluster used for its starting PCA: EM refines it on all of them


def _squared_distances(x: Tensor, centres: Tensor) -> Tensor:
    squares = x.square().sum(1)[:, None] - 2 * x @ centres.mT + centres.square().sum(1)
    return squares.clamp(min=0)


def kmeans(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Cluster of each point by k-means++ (Arthur & Vassilvitskii 2007) and a few Lloyd steps, (n, d) to (n,)."""
    first = int(torch.randint(len(x), (1,), generator=generator))
    centres = x[first : first + 1]
    while len(centres) < k:
        nearest = _squared_distances(x, centres).amin(1)
        chances = nearest.cpu() if float(nearest.sum()) > 0 else torch.ones(len(x), dtype=x.dtype)
        chosen = int(torch.multinomial(chances, 1, generator=generator))
        centres = torch.cat([centres, x[chosen : chosen + 1]])
    for _ in range(_LLOYD_STEPS):
        label = _squared_distances(x, centres).argmin(1)
        member = torch.nn.functional.one_hot(label, k).to(x.dtype)
        count = member.sum(0)
        means = member.mT @ x / count.clamp(min=1)[:, None]
        centres = torch.where((count > 0)[:, None], means, centres)
    return _squared_distances(x, centres).argmin(1)


def probabilistic_pca(x: Tensor, rank: int, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum-likelihood PPCA of the points (n, d): mean (d,), loadings (d, rank), noise variance ().

    A = V(Λ − ψ)^½ with ψ the mean of the discarded eigenvalues (Tipping & Bishop 1999). Fewer points than `rank` + 1
    give zero columns. Eigenvalues come from the Gram matrix, since n < d in most classes.
    """
    n, d = x.shape
    mean = x.mean(0)
    centred = (x - mean)[:_PCA_POINTS]
    values, vectors = torch.linalg.eigh(centred @ centred.mT / len(centred))
    usable = min(rank, len(centred) - 1)
    top = values[len(values) - usable :].clamp(min=0)
    left = max(d - usable, 1)
    psi = ((values.clamp(min=0).sum() - top.sum()) / left).clamp(min=floor)
    loadings = x.new_zeros(d, rank)
    if usable > 0:
        safe = top.clamp(min=torch.finfo(x.dtype).tiny)
        axes = centred.mT @ vectors[:, len(values) - usable :] / (safe * len(centred)).sqrt()
        loadings[:, :usable] = axes * (top - psi).clamp(min=0).sqrt()
    return mean, loadings, psi
