"""Which range and normalisation a network was trained with, found from how well it classifies under each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.types import LabelledImages

Pair = tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Convention:
    """A usual way to feed images.

    Args:
        name: in words, for warnings.
        options: as a reference writes it.
        input_range, mean, std: as on a card.
    """

    name: str
    options: str
    input_range: tuple[float, float]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def feed(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to what the network is given."""
        low, high = self.input_range
        x = low + x * (high - low)
        if not self.mean:
            return x
        return (x - _column(self.mean, x)) / _column(self.std, x)


def _column(values: tuple[float, ...], x: Tensor) -> Tensor:
    return torch.tensor(values, dtype=x.dtype, device=x.device).reshape(1, -1, 1, 1)


def conventions(data: LabelledImages) -> list[Convention]:
    """[0, 1], [−1, 1] and [0, 255], each bare; mean and std of these images; those of ImageNet for colour."""
    found = [
        Convention("images in [0, 1]", "range=0,1&mean=none", (0.0, 1.0)),
        Convention("images in [-1, 1]", "range=-1,1&mean=none", (-1.0, 1.0)),
        Convention("images in [0, 255]", "range=0,255&mean=none", (0.0, 255.0)),
    ]
    mean, std = moments(data)
    if all(value > 0 for value in std):
        shown = f"mean={_listed(mean)}&std={_listed(std)}"
        found.append(Convention("mean and std of the training images", f"range=0,1&{shown}", (0.0, 1.0), mean, std))
    if data.shape[0] == 3:
        found.append(Convention("mean and std of ImageNet", "range=0,1&mean=imagenet", (0.0, 1.0), *IMAGENET))
    return found


def moments(data: LabelledImages, most: int = 5000) -> Pair:
    """Mean and standard deviation of each channel, of the first images, rounded to 4 digits."""
    x = data.images(slice(0, most)).double()
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3), correction=0)
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(v, 4) for v in std.tolist())


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def correct_under(module: nn.Module, found: list[Convention], x: Tensor, y: Tensor) -> Tensor:
    """(conventions, N) bool: whether each image is classified rightly under each convention."""
    with torch.no_grad():
        return torch.stack([_predicted(module, convention.feed(x)) == y for convention in found])


def _predicted(module: nn.Module, x: Tensor, batch: int = 128) -> Tensor:
    return torch.cat([module(part).argmax(1) for part in x.split(batch)])


def binomial_tail(hits: int, n: int, p: float) -> float:
    """P(X ≥ hits) for X binomial(n, p), exactly.

    Example:
        >>> round(binomial_tail(2, 2, 0.5), 6)
        0.25
    """
    if hits <= 0:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in range(hits, n + 1)
    ]
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def clearly_better(first: Tensor, second: Tensor, level: float = 0.01) -> bool:
    """Whether `first` is right more often than `second` on the same images: one-sided exact sign test.

    Args:
        first, second: (N,) bool.
        level: of the test.
    """
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    return wins > losses and binomial_tail(wins, wins + losses, 0.5) < level
