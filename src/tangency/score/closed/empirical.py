"""The exact score of a finite data set: what a diffusion model says that has learnt its images by heart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures.weights import Weigh, given, log_rest, marginal, odds
from tangency.numerics import flat, noise_levels, norms, per_example, per_level
from tangency.types import Direction, LabelledImages, Sigma, check_images, check_labels

TRUSTED = 50.0  # effective images, below which the score is that of a few neighbours, not of the distribution
_QUERIES, _IMAGES = 128, 4096  # at once


@final
class EmpiricalScore:
    """p(x) = 1/N Σ_i δ(x − x_i), smoothed: D(x; σ) = Σ_i w_i x_i, w = softmax(−‖x − x_i‖²/2σ²).

    The least possible denoising error on the images themselves, and a poor model of new ones where few images carry the
    weight: `effective_images` says how many, and below `TRUSTED` = 50 it is not to be believed. Computed in float64 in
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

    Source: Karas et al., arXiv 2206.00364, appendix B.3.
    """

    kind = "empirical"
    data_range = (0.0, 1.0)

    def __init__(self, data: LabelledImages, device: str | torch.device = "cpu") -> None:
        if not len(data):
            raise NumericsError("empirical score: got no images, expected at least 1.")
        self.data, self.device = data, torch.device(device)
        self.card = {"kind": self.kind, "data": data.name, "images": len(data)}
        order = data.labels.argsort(stable=True)
        self._members = [order[data.labels[order] == c] for c in range(len(data.classes))]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.data.shape

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.data.classes)

    def denoise(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """D(x; σ), or over the images of class y alone; shape and dtype of x."""
        score = self.score(x.double(), sigma, y)
        return (x.double() + per_example(noise_levels(sigma, x), x) ** 2 * score).to(x.dtype)

    def score(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """s_σ(x) = (D(x; σ) − x)/σ², or given y."""
        if y is not None:
            check_labels(y, len(x), self.classes)
            self._refuse_empty(y)
        return per_level(self._score, x, sigma, y)

    def _score(self, x: Tensor, sigma: float, y: Tensor | None) -> Tensor:
        return self._weighted(x, sigma, marginal if y is None else given(y))[0]

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: Sigma) -> Direction:
        """∇ log p_σ(y | x) as log-odds direction and log magnitude."""
        check_labels(y, len(x), self.classes)
        self._refuse_empty(y)
        if sum(len(members) > 0 for members in self._members) < 2:
            raise NumericsError("a Bayes gradient needs images of at least 2 classes.")
        return per_level(self._bayes_direction, x, sigma, y)

    def _bayes_direction(self, x: Tensor, sigma: float, y: Tensor) -> Direction:
        direction, joint = self._weighted(x.double(), sigma, odds(y))
        return Direction(direction.to(x.dtype), norms(direction).log() + log_rest(joint, y))

    def effective_images(self, x: Tensor, sigma: float) -> Tensor:
        """1/Σ_i w_i², between 1 and N: how many images the answer at x is made of, (N,) float64."""
        parts = [self._moments(rows, sigma) for rows in self._rows(x, sigma)]
        found = []
        for part in parts:
            top = part.log_total.amax(1, keepdim=True)
            total = (part.log_total - top).exp().sum(1)
            square = (part.log_square - 2 * top).exp().sum(1)
            found.append(total.square() / square)
        return torch.cat(found)

    def _weighted(self, x: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Σ_c w_c ∇ log p_σ(x | c), and log p_σ(x, c) up to a constant common to all classes."""
        found, joints, start = [], [], 0
        for rows in self._rows(x, sigma):
            moments = self._moments(rows, sigma)
            weights = weigh(moments.log_total, slice(start, start + len(rows)))
            pull = torch.einsum("nc,ncd->nd", weights, moments.means) - weights.sum(1, keepdim=True) * rows
            found.append(pull / sigma**2)
            joints.append(moments.log_total)
            start += len(rows)
        return torch.cat(found).reshape(x.shape).to(x), torch.cat(joints)

    def _moments(self, rows: Tensor, sigma: float) -> _Moments:
        """Of each class: ln Σ exp(−‖x − x_i‖²/2σ²), ln Σ exp(−‖x − x_i‖²/σ²), and the weighted mean of its images."""
        totals, squares, means = [], [], []
        for members in self._members:
            top = rows.new_full((len(rows), 1), -torch.inf)
            total, square, mean = torch.zeros_like(top), torch.zeros_like(top), torch.zeros_like(rows)
            for index in members.split(_IMAGES) if len(members) else ():
                images = flat(self.data.images(index)).to(self.device, torch.float64)
                logits = self._logits(rows, images, sigma)
                higher = torch.maximum(top, logits.amax(1, keepdim=True))
                fade, w = (top - higher).exp(), (logits - higher).exp()
                total = total * fade + w.sum(1, keepdim=True)
                square = square * fade.square() + w.square().sum(1, keepdim=True)
                mean, top = mean * fade + w @ images, higher
            totals.append((total.log() + top).squeeze(1))
            squares.append((square.log() + 2 * top).squeeze(1))
            means.append(mean / total if len(members) else rows)
        return _Moments(torch.stack(totals, 1), torch.stack(squares, 1), torch.stack(means, 1))

    @staticmethod
    def _logits(rows: Tensor, images: Tensor, sigma: float) -> Tensor:
        distance = rows.square().sum(1)[:, None] - 2 * rows @ images.mT + images.square().sum(1)
        return -distance.clamp(min=0) / (2 * sigma**2)

    def _rows(self, x: Tensor, sigma: float) -> tuple[Tensor, ...]:
        if not 0 < sigma < torch.inf:
            raise NumericsError(
                f"sigma: got {sigma}, expected a finite number above 0: a finite set of images has a density only when "
                "noise is added."
            )
        check_images(x, unit_range=False)
        if tuple(x.shape[1:]) != self.data.shape:
            raise NumericsError(
                f"images: got shape {tuple(x.shape)}, expected (N, {', '.join(map(str, self.data.shape))})."
            )
        return flat(x).to(self.device, torch.float64).split(_QUERIES)

    def _refuse_empty(self, y: Tensor) -> None:
        for c in y.unique().tolist():
            if not len(self._members[c]):
                raise NumericsError(
                    f"class '{self.data.classes[c]}' has no images, expected at least 1 to condition on it."
                )


@dataclass(frozen=True)
class _Moments:
    """Of each class: log_total and log_square (n, classes), means (n, classes, d)."""

    log_total: Tensor
    log_square: Tensor
    means: Tensor
