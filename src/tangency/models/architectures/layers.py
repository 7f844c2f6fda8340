"""Named activations and normalisations of the architectures, and typed calls of modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from tangency.errors import ModelError, unknown_name

# The gradient-norm penalty needs a second derivative: relu has none, and trains worse under it (arXiv 2409.20139).
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
}
# batch: statistics over the batch, couples the images of a batch while training; group and none never do.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(math.gcd(channels, 8), channels),
    "none": lambda channels: nn.Identity(),
}


def activation(name: str) -> nn.Module:
    """A new activation layer by name."""
    if name not in ACTIVATIONS:
        raise ModelError(unknown_name("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]()


def norm(name: str, channels: int) -> nn.Module:
    """A new normalisation layer by name."""
    if name not in NORMS:
        raise ModelError(unknown_name("norm", name, NORMS))
    return NORMS[name](channels)


def applied(module: Callable[..., object], x: Tensor) -> Tensor:
    """module(x), which is a tensor."""
    return cast(Tensor, module(x))
