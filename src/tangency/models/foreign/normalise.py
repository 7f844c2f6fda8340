"""The usual ranges and normalisations of images, and tests of which one a network was trained with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.autodiff import input_gradients
from tangency.models.architectures.layers import applied
from tangency.models.foreign.feeding import PRESETS
from tangency.numerics import at_once, unit
from tangency.types import LabelledImages

# Two functions are measured alike where they give the same class this often, where the median cosine of their gradients
# is at least this, and their norms are within this factor: on small networks with a gradient penalty on CIFAR-10 and
# Fashion-MNIST, F² of such pairs differed by at most 3 %, and changes under steps by at most 20 %.
_SAME_CLASS, _SAME_DIRECTION, _SAME_SIZE = 0.75, 0.85, 1.5
_SUMMED = 1 << 22  # pixels that are summed at once
_NEAR = 0.02  # largest difference of a mean for data that are taken for CIFAR-10


@dataclass(frozen=True)
class Convention:
    """A usual way to feed images.

    Args:
        name: in words, for warnings.
        options: of a reference that names it.
        input_range, mean, std: as on a card.
    """

    name: str
    options: str
    input_range: tuple[float, float]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def arguments(self) -> str:
        """Those of `Classifier.wrap` that name it."""
        low, high = self.input_range
        said = "" if (low, high) == (0, 1) and self.mean else f", input_range=({low:g}, {high:g})"
        shown = (f", {name}={list(values)}" for name, values in (("mean", self.mean), ("std", self.std)) if values)
        return f"network, shape, classes{said}{''.join(shown)}"

    def feed(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to the input of the network."""
        low, high = self.input_range
        x = low + x * (high - low)
        if not self.mean:
            return x
        mean, std = (
            torch.tensor(values, dtype=x.dtype, device=x.device).reshape(1, -1, 1, 1)
            for values in (self.mean, self.std)
        )
        return (x - mean) / std


class Fed(nn.Module):
    """A network as a function of images in [0, 1], fed by a convention."""

    def __init__(self, module: nn.Module, convention: Convention) -> None:
        super().__init__()
        self.module, self.convention = module, convention

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        return applied(self.module, self.convention.feed(x))


@dataclass(frozen=True)
class Resemblance:
    """How much two functions of the same images resemble each other.

    Args:
        same: share of the images to which both give the same class.
        cosine: median cosine of their gradients of log p(y|x); NaN where most have none.
        size: mean l2 norm of the gradient of p(y|x) of the second, over that of the first.
    """

    same: float
    cosine: float
    size: float

    @property
    def alike(self) -> bool:
        """Whether measures of both are of the same order of size: F², cosines, changes under steps."""
        return self.same >= _SAME_CLASS and self.cosine >= _SAME_DIRECTION and 1 / _SAME_SIZE <= self.size <= _SAME_SIZE

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"the same class for {self.same:.0%} of the images, gradients with a median cosine of {self.cosine:.2f} "
            f"and {self.size:.3g} times the size"
        )


def resemblance(first: nn.Module, second: nn.Module, x: Tensor, y: Tensor) -> Resemblance:
    """How much two classifiers of images in [0, 1] resemble each other, on labelled images."""
    directions, sizes, classes = [], [], []
    for model in (first, second):
        batch = at_once(x.shape[1:], 64)
        gradient = input_gradients(model, x, y, ["logp_y"], batch_size=batch)["logp_y"]
        with torch.no_grad():
            logits = torch.cat([model(part) for part in torch.split(x, batch)])
        directions.append(unit(gradient.direction))
        sizes.append((gradient.log_norm + logits.log_softmax(1).gather(1, y[:, None])[:, 0]).exp())
        classes.append(logits.argmax(1))
    cosines = (directions[0] * directions[1]).flatten(1).sum(1)
    return Resemblance(
        float((classes[0] == classes[1]).double().mean()),
        float(cosines.nanmedian()) if float(cosines.isfinite().double().mean()) > 0.5 else math.nan,
        float(sizes[1].mean() / sizes[0].mean()),
    )


def conventions(data: LabelledImages) -> list[Convention]:
    """[0, 1], [−1, 1] and [0, 255] without normalisation; mean and std of these images; those of ImageNet for colour.

    For images whose mean is CIFAR-10's, also the std of most scripts for CIFAR-10, which is not its own.
    """
    usual = [
        Convention(f"images in [{low:g}, {high:g}]", f"range={low:g},{high:g}&mean=none", (low, high))
        for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
    ]
    mean, std = moments(data)
    if all(value > 0 for value in std):
        shown = "&".join(
            f"{name}={','.join(f'{v:g}' for v in values)}" for name, values in (("mean", mean), ("std", std))
        )
        usual.append(Convention("mean and std of the training images", f"range=0,1&{shown}", (0.0, 1.0), mean, std))
    if data.shape[0] == 3:
        if max(abs(a - b) for a, b in zip(mean, PRESETS["cifar"][0], strict=True)) < _NEAR:
            name = "mean and std of most scripts for CIFAR-10"
            usual.append(Convention(name, "range=0,1&mean=cifar", (0.0, 1.0), *PRESETS["cifar"]))
        imagenet = PRESETS["imagenet"]
        usual.append(Convention("mean and std of ImageNet", "range=0,1&mean=imagenet", (0.0, 1.0), *imagenet))
    return usual


def moments(data: LabelledImages, most: int = 5000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of the first images, rounded to 4 digits."""
    index = torch.arange(min(most, len(data)))
    sums = torch.zeros(2, data.shape[0], dtype=torch.float64)
    for part in torch.split(index, at_once(data.shape, most, _SUMMED)):
        x = data.images(part).double()
        sums += torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])
    mean, square = sums / (len(index) * math.prod(data.shape[1:]))
    std = (square - mean.square()).clamp(min=0).sqrt()
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(v, 4) for v in std.tolist())


def predicted_classes(module: nn.Module, x: Tensor) -> Tensor:
    """(N, C, H, W) to the class of the largest logit, (N,)."""
    with torch.no_grad():
        return torch.cat([module(part).argmax(1) for part in torch.split(x, at_once(x.shape[1:], 128))])


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
    return min(1.0, math.fsum(map(math.exp, logs)))


def clearly_better(first: Tensor, second: Tensor, level: float = 0.01) -> bool:
    """Whether `first` is right more often than `second` on the same images: one-sided exact sign test.

    Args:
        first, second: (N,) bool.
        level: of the test.
    """
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    return wins > losses and binomial_tail(wins, wins + losses, 0.5) < level
