"""Leading principal directions of all images: exact where the covariance is small, by random projection above."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import check_rank, flat
from tangency.seeding import Draw, permutation
from tangency.types import LabelledImages

_VALUES = 4_000_000  # pixels of a batch of images
_DENSE = 4096  # pixels up to which a covariance matrix is formed
_SAMPLE = 2048  # images that are used above that: their leading directions differ little from those of all
_FEW, _COLUMNS = 512, 8192  # images whose exact principal axes are found above that, and pixels at once
_SPARE = 10  # directions beyond twice k
_PASSES = 12  # over the images, at most
_NOTHING = 1e-10  # variances under this share of the largest are rounding
_TOLERANCE = 1e-6  # a pass that raises the variance in the subspace by less than this share of it is the last


def pca_basis(data: LabelledImages, k: int) -> Tensor:
    """The k leading principal directions of all images together, (d, k) float64.

    Up to 4,096 pixels by an eigendecomposition of the covariance C of all images. Above, of at most 2,048 images (a
    fixed random subset) by a randomised range finder: Q = orth(C Q) from 2k + 10 random directions, until a pass
    raises the variance of the k leading directions by less than 1e-6 of it, 12 passes at most; then the eigenvectors
    of QᵀC Q. Both go over the images in batches: memory grows neither with their number nor with the square of their
    size.

    Args:
        data: at least 2 images of d pixels.
        k: 1 ≤ k < d.

    Returns:
        Orthonormal columns, the direction of the largest variance first; beyond the number of images less one they
        are arbitrary.

    Raises:
        NumericsError: k out of its range, or fewer images.

    Source: Halko, Martinsson & Tropp, "Finding structure with randomness", 2011, algorithms 4.4 and 5.3.
    """
    d = math.prod(data.shape)
    check_rank(k, d)
    if len(data) < 2:
        raise NumericsError(f"global PCA: got {len(data)} images, expected at least 2.")
    if d > _DENSE:
        return _randomised(data, _subset(data, _SAMPLE), k)
    return principal_axes(data, k).vectors


@dataclass(frozen=True)
class PrincipalAxes:
    """Mean (d,), leading principal directions (d, k) with their variances (k,), and the variance of all d together."""

    mean: Tensor
    vectors: Tensor
    variances: Tensor
    total: float


def principal_axes(data: LabelledImages, k: int) -> PrincipalAxes:
    """The k leading eigenvectors and eigenvalues of the covariance C of images, exact, float64.

    Up to 4,096 pixels of all images. Above, of at most 512 (a fixed random subset), from the eigenvectors u of the
    inner products X Xᵀ of these, centred: Xᵀu/‖Xᵀu‖, or zero where they span no further direction.

    Args:
        data: at least 2 images of d pixels.
        k: 1 to d; above 4,096 pixels at most the number of images looked at.
    """
    d = math.prod(data.shape)
    if len(data) < 2:
        raise NumericsError(f"principal axes: got {len(data)} images, expected at least 2.")
    if d > _DENSE:
        return _few_images_axes(data, k)
    index = torch.arange(len(data))
    mean = _mean(data, index)
    second = torch.zeros(d, d, dtype=torch.float64)
    for rows in _batches(data, index):
        second += rows.mT @ rows
    covariance = second / len(data) - torch.outer(mean, mean)
    values, vectors = torch.linalg.eigh(covariance)
    leading: Tensor = vectors[:, -k:].flip(1).contiguous()
    return PrincipalAxes(mean, leading, values[-k:].flip(0).clamp(min=0), float(covariance.trace()))


def _few_images_axes(data: LabelledImages, k: int) -> PrincipalAxes:
    index = _subset(data, _FEW)
    mean, rows = _mean(data, index), flat(data.images(index))
    places = torch.split(torch.arange(len(mean)), _COLUMNS)
    inner = torch.zeros(len(index), len(index), dtype=torch.float64)
    for own in places:
        centred = rows[:, own].double() - mean[own]
        inner += centred @ centred.mT
    values, vectors = torch.linalg.eigh(inner)
    values, vectors = values[-k:].flip(0).clamp(min=0), vectors[:, -k:].flip(1)
    kept = values > _NOTHING * values[0]
    scale = torch.where(kept, values, 1).rsqrt() * kept
    axes = torch.cat([(rows[:, own].double() - mean[own]).mT @ (vectors * scale) for own in places])
    return PrincipalAxes(mean, axes, values / len(index), float(inner.trace()) / len(index))


def _subset(data: LabelledImages, most: int) -> Tensor:
    """All images, or a fixed random subset of many."""
    return permutation(len(data), 0, "principal directions")[:most].sort().values


def _batches(data: LabelledImages, index: Tensor) -> Iterator[Tensor]:
    for some in torch.split(index, max(1, _VALUES // math.prod(data.shape))):
        yield flat(data.images(some)).double()


def _mean(data: LabelledImages, index: Tensor) -> Tensor:
    total = torch.zeros(math.prod(data.shape), dtype=torch.float64)
    for rows in _batches(data, index):
        total += rows.sum(0)
    return total / len(index)


def _randomised(data: LabelledImages, index: Tensor, k: int) -> Tensor:
    """Eigenvectors of the covariance by subspace iteration with Rayleigh–Ritz steps."""
    mean = _mean(data, index)
    width = min(2 * k + _SPARE, len(mean))
    start = Draw(0, torch.zeros(1, dtype=torch.int64), "principal directions").normal((len(mean), width), torch.float64)
    block, held = torch.linalg.qr(start[0]).Q, 0.0
    leading: Tensor = block[:, :k]
    for _ in range(_PASSES):
        product = torch.zeros_like(block)
        for rows in _batches(data, index):
            centred = rows - mean
            product.addmm_(centred.mT, centred @ block)
        values, vectors = torch.linalg.eigh(block.mT @ product / len(index))
        leading, before, held = block @ vectors[:, -k:].flip(1), held, float(values[-k:].sum())
        if held - before <= _TOLERANCE * held:
            break
        block = torch.linalg.qr(product).Q
    return leading.contiguous()
