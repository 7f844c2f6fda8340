"""The exact score of a finite data set: that of a diffusion model that has memorised its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures.weights import Weigh
from tangency.numerics import flat
from tangency.score.closed.classwise import ClasswiseScore
from tangency.types import LabelledImages

TRUSTED = 50.0  # effective images, below which the score is that of a few neighbours, not of the distribution
_QUERIES, _IMAGES = 128, 4096  # at once


@final
class EmpiricalScore(ClasswiseScore):
    """p(x) = 1/N Σ_i δ(x − x_i), smoothed: D(x; σ) = Σ_i w_i x_i, w = softmax(−‖x − x_i‖²/2σ²).

    The least possible denoising error on the images themselves, and a poor model of new ones where few images carry the
    weight: `effective_images` says how many; below `TRUSTED` = 50 do not rely on it. Computed in float64 in
    one pass over the images (an online softmax), so memory does not grow with their number.

    Args:
        data: the images; they stay as they are stored.
        device: where it is computed.

    Raises:
        NumericsError: σ = 0, where a finite set has no density.

    Example:
        >>> from tangency.data import load
        >>> score = EmpiricalScore(load("fashion-mnist-5k").train.subset(slice(0, 100)))
        >>> x = load("fashion-mnist-5k").test.images(slice(0, 2))
        >>> score.denoise(x, 0.5).shape, bool((score.effective_images(x, 0.5) < TRUSTED).all())
        (torch.Size([2, 1, 28, 28]), True)

    Source: Karras et al., arXiv 2206.00364, appendix B.3.
    """

    kind = "empirical"

    def __init__(self, data: LabelledImages, device: str | torch.device = "cpu") -> None:
        if not len(data):
            raise NumericsError("empirical score: got no images, expected at least 1.")
        super().__init__(data, device)
        self.data = data
        self._members = [(data.labels == c).nonzero().flatten() for c in range(self.classes)]

    def effective_images(self, x: Tensor, sigma: float) -> Tensor:
        """1/Σ_i w_i², between 1 and N: how many images D(x; σ) is made of, (N,) float64."""
        counts = []
        for rows in self._parts(x, sigma):
            moments = self._moments(rows, sigma)
            top = moments.log_total.amax(1, keepdim=True)
            total = (moments.log_total - top).exp().sum(1)
            counts.append(total.square() / (moments.log_square - 2 * top).exp().sum(1))
        return torch.cat(counts)

    def _weighted(self, x: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        scores, joints, start = [], [], 0
        for rows in self._parts(x, sigma):
            moments = self._moments(rows, sigma)
            weights = weigh(moments.log_total, slice(start, start + len(rows)))
            pull = torch.einsum("nc,ncd->nd", weights, moments.means) - weights.sum(1, keepdim=True) * rows
            scores.append(pull / sigma**2)
            joints.append(moments.log_total)
            start += len(rows)
        return torch.cat(scores).reshape(x.shape), torch.cat(joints)

    def _moments(self, rows: Tensor, sigma: float) -> _Moments:
        """Of each class: ln Σ exp(−‖x − x_i‖²/2σ²), ln Σ exp(−‖x − x_i‖²/σ²), and the weighted mean of its images."""
        totals, squares, means = [], [], []
        for members in self._members:
            top = rows.new_full((len(rows), 1), -torch.inf)
            total, square, mean = torch.zeros_like(top), torch.zeros_like(top), torch.zeros_like(rows)
            for index in torch.split(members, _IMAGES) if len(members) else ():
                images = flat(self.data.images(index)).to(self.device, torch.float64)
                distance = rows.square().sum(1)[:, None] - 2 * rows @ images.mT + images.square().sum(1)
                logits = -distance.clamp(min=0) / (2 * sigma**2)
                higher = torch.maximum(top, logits.amax(1, keepdim=True))
                fade, w = (top - higher).exp(), (logits - higher).exp()
                total = total * fade + w.sum(1, keepdim=True)
                square = square * fade.square() + w.square().sum(1, keepdim=True)
                mean, top = mean * fade + w @ images, higher
            totals.append((total.log() + top).squeeze(1))
            squares.append((square.log() + 2 * top).squeeze(1))
            means.append(mean / total if len(members) else rows)
        return _Moments(torch.stack(totals, 1), torch.stack(squares, 1), torch.stack(means, 1))

    def _parts(self, x: Tensor, sigma: float) -> tuple[Tensor, ...]:
        if not 0 < sigma < torch.inf:
            raise NumericsError(
                f"sigma: got {sigma}, expected a finite number above 0: a finite set of images has a density only when "
                "noise is added."
            )
        return torch.split(self._rows(x), _QUERIES)


@dataclass(frozen=True)
class _Moments:
    """Of each class: log_total and log_square (n, classes), means (n, classes, d)."""

    log_total: Tensor
    log_square: Tensor
    means: Tensor
