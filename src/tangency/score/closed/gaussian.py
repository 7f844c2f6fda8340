"""One Gaussian for all images: the score that knows the covariance and nothing else."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures.weights import Weigh
from tangency.numerics import flat
from tangency.score.closed.classwise import ClasswiseScore
from tangency.types import LabelledImages

LARGEST = 4096  # values of an image, whose covariance matrix is decomposed
_VALUES = 4_000_000  # pixels of a batch of images
_FLOOR = 1e-6  # least variance of a direction, relative to the largest: constant pixels have none


def check_dimension(shape: tuple[int, int, int]) -> None:
    """Raise a `NumericsError` where images (C, H, W) are too large for a covariance matrix."""
    if math.prod(shape) <= LARGEST:
        return
    channels, *sides = shape
    ratio = max(sides) / min(sides)
    side = max(1, math.isqrt(int(LARGEST / (channels * ratio))))
    side -= side > 1 and channels * side * round(side * ratio) > LARGEST
    raise NumericsError(
        f"gaussian score: got images of {math.prod(shape):,} values ({'×'.join(map(str, shape))}), expected at most "
        f"{LARGEST:,}, whose covariance matrix is decomposed. Give it smaller images (--working-size {side}, "
        "measures.working_size, or ?size= of the data), or choose another score: mfa, empirical or none."
    )


@final
class GaussianScore(ClasswiseScore):
    """N(μ, S): D(x; σ) = μ + S(S + σ²I)⁻¹(x − μ), a high-pass of the image; the baseline that any score must beat.

    Given a class, N(μ_y, S_w) with the covariance within classes, common to all: the Bayes gradient is then that of
    linear discriminant analysis, (S_w + σ²I)⁻¹(μ_y − Σ_c w_c μ_c). (So s is not exactly Σ_y p(y|x) s_y, as it would be
    for a mixture: each of the two is the best Gaussian for its own purpose.)

    Args:
        data: images to fit, at least 2, of at most 4,096 values (pixels × channels).
        device: where it is computed.

    Raises:
        NumericsError: fewer or larger images, or images that are all equal.

    Example:
        >>> from tangency.data import load
        >>> data = load("fashion-mnist-5k")
        >>> score = GaussianScore(data.train)
        >>> x = data.test.images(slice(0, 2))
        >>> score.denoise(x, 0.25).shape
        torch.Size([2, 1, 28, 28])
    """

    kind = "gaussian"

    def __init__(self, data: LabelledImages, device: str | torch.device = "cpu") -> None:
        d = math.prod(data.shape)
        if len(data) < 2:
            raise NumericsError(f"gaussian score: got {len(data)} images, expected at least 2.")
        check_dimension(data.shape)
        super().__init__(data, device)
        sums = torch.zeros(self.classes, d, dtype=torch.float64)
        second = torch.zeros(d, d, dtype=torch.float64)
        for index in torch.split(torch.arange(len(data)), max(1, _VALUES // d)):
            rows = flat(data.images(index)).double()
            second += rows.mT @ rows
            sums.index_add_(0, data.labels[index], rows)
        counts = data.class_counts.double()
        means = sums / counts.clamp(min=1)[:, None]
        mean = sums.sum(0) / len(data)
        total = second / len(data) - torch.outer(mean, mean)
        within = second / len(data) - means.mT @ (means * (counts / len(data))[:, None])
        self._mean, self._means = mean.to(device), means.to(device)
        self._log_prior = (counts / len(data)).log().to(device)
        self._whole, self._within = _decomposed(total, device), _decomposed(within, device)

    def _score(self, x: Tensor, sigma: float, y: Tensor | None) -> Tensor:
        if y is not None:
            return super()._score(x, sigma, y)
        return -_solve(self._whole, self._checked(x, sigma) - self._mean, sigma).reshape(x.shape).to(x)

    def _weighted(self, x: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        rows = self._checked(x, sigma)
        solved = _solve(self._within, self._means, sigma)
        joint = rows @ solved.mT - 0.5 * (self._means * solved).sum(1) + self._log_prior
        weights = weigh(joint, slice(0, len(rows)))
        total = weights.sum(1, keepdim=True)
        return (weights @ solved - total * _solve(self._within, rows, sigma)).reshape(x.shape), joint

    def _checked(self, x: Tensor, sigma: float) -> Tensor:
        if not 0 <= sigma < torch.inf:
            raise NumericsError(f"sigma: got {sigma}, expected a finite number of at least 0 in [0, 1] pixel units.")
        return self._rows(x)


def _decomposed(covariance: Tensor, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Eigenvalues, kept above a floor, and eigenvectors."""
    values, vectors = torch.linalg.eigh(covariance)
    if not float(values[-1]) > 0:
        raise NumericsError("gaussian score: all images are equal, expected different ones.")
    return values.clamp(min=_FLOOR * float(values[-1])).to(device), vectors.to(device)


def _solve(decomposed: tuple[Tensor, Tensor], rows: Tensor, sigma: float) -> Tensor:
    """(S + σ²I)⁻¹ of each row, (N, d)."""
    values, vectors = decomposed
    return (rows @ vectors / (values + sigma**2)) @ vectors.mT
