"""Subspaces of equal rank that know nothing of the image; any smooth gradient beats the isotropic null."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import flat
from tangency.types import LabelledImages

_PCA_BATCH = 1024


def _checked(k: int, d: int) -> None:
    if not 1 <= k < d:
        raise NumericsError(f"rank: got {k} for images of {d} pixels, expected 1 to {d - 1}.")


def dct_basis(shape: tuple[int, int, int], k: int) -> Tensor:
    """The k lowest frequencies of the orthonormal DCT-II, (d, k) float64, d = C·H·W.

    Frequencies (u, v) are ordered by (u/H)² + (v/W)², ties by u; each comes in every channel before the next.
    """
    channels, height, width = shape
    _checked(k, channels * height * width)

    def cosines(n: int) -> Tensor:
        position = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        waves = torch.cos(math.pi * position[:, None] * torch.arange(n, dtype=torch.float64))
        return waves / waves.square().sum(0).sqrt()

    needed = min(-(-k // channels), height * width)
    order = sorted(
        ((u, v) for u in range(height) for v in range(width)),
        key=lambda f: ((f[0] / height) ** 2 + (f[1] / width) ** 2, f),
    )[:needed]
    u, v = (torch.tensor(values) for values in zip(*order, strict=True))
    images = cosines(height)[:, None, u] * cosines(width)[None, :, v]  # (H, W, needed)
    waves = images.reshape(height * width, needed)
    basis = torch.einsum("pf,ce->cpfe", waves, torch.eye(channels, dtype=torch.float64))
    return basis.reshape(channels * height * width, needed * channels)[:, :k].contiguous()


def pca_basis(data: LabelledImages, k: int) -> Tensor:
    """The k leading principal directions of all images together, (d, k) float64.

    The covariance is summed over batches, so memory does not grow with the number of images.
    """
    d = math.prod(data.shape)
    _checked(k, d)
    if len(data) < 2:
        raise NumericsError(f"global PCA: got {len(data)} images, expected at least 2.")
    total = torch.zeros(d, dtype=torch.float64)
    second = torch.zeros(d, d, dtype=torch.float64)
    for index in torch.arange(len(data)).split(_PCA_BATCH):
        rows = flat(data.images(index)).double()
        total += rows.sum(0)
        second += rows.mT @ rows
    mean = total / len(data)
    _, vectors = torch.linalg.eigh(second / len(data) - torch.outer(mean, mean))
    return vectors[:, -k:].flip(1).contiguous()
