"""Subspaces of equal rank that know nothing of the image; any smooth gradient beats the isotropic null."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import check_rank, flat
from tangency.seeding import Draw
from tangency.types import LabelledImages

_PCA_VALUES = 4_000_000  # pixels of a batch of images
_DENSE = 4096  # pixels up to which a covariance matrix is formed
_ITERATIONS = 50


def pca_basis(data: LabelledImages, k: int) -> Tensor:
    """The k leading principal directions of all images together, (d, k) float64.

    Up to 4,096 pixels by an eigendecomposition of the covariance, above by subspace iteration; both pass over the
    images in batches, so memory does not grow with their number, nor with the square of their size.
    """
    d = math.prod(data.shape)
    check_rank(k, d)
    if len(data) < 2:
        raise NumericsError(f"global PCA: got {len(data)} images, expected at least 2.")
    mean = sum((rows.sum(0) for rows in _batches(data)), torch.zeros(d, dtype=torch.float64)) / len(data)
    if d > _DENSE:
        return _subspace_iteration(data, mean, k)
    second = torch.zeros(d, d, dtype=torch.float64)
    for rows in _batches(data):
        second += rows.mT @ rows
    _, vectors = torch.linalg.eigh(second / len(data) - torch.outer(mean, mean))
    return vectors[:, -k:].flip(1).contiguous()


def _batches(data: LabelledImages) -> Iterator[Tensor]:
    size = max(1, _PCA_VALUES // math.prod(data.shape))
    for index in torch.arange(len(data)).split(size):
        yield flat(data.images(index)).double()


def _subspace_iteration(data: LabelledImages, mean: Tensor, k: int) -> Tensor:
    """Leading eigenvectors of the covariance by block power iteration with a few spare directions."""
    width = min(k + 10, len(mean))
    block = Draw(0, torch.zeros(1, dtype=torch.int64), "principal directions").normal(
        (len(mean), width), torch.float64
    )[0]
    values = torch.zeros(width, dtype=torch.float64)
    for _ in range(_ITERATIONS):
        block = torch.linalg.qr(block).Q
        product = torch.zeros_like(block)
        for rows in _batches(data):
            centred = rows - mean
            product += centred.mT @ (centred @ block)
        before, values = values, torch.linalg.eigvalsh(block.mT @ product).flip(0)
        block = product
        if bool((values[:k] - before[:k]).abs().max() <= 1e-8 * values[0]):
            break
    block = torch.linalg.qr(block).Q
    projected = torch.cat([(rows - mean) @ block for rows in _batches(data)])
    _, vectors = torch.linalg.eigh(projected.mT @ projected)
    return (block @ vectors[:, -k:].flip(1)).contiguous()
