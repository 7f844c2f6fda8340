"""The ImageNet networks behind LPIPS and DISTS, as tables: torchvision's `features` up to the last layer compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Pool = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """One layer of `features`, with the ReLU behind it.

    Args:
        index: in torchvision's `features`; of a pool, 0.
        kind: a convolution, a pool, or SqueezeNet's fire module.
        stride, padding: of the convolution.
        compared: whether its output is.
    """

    kind: Literal["conv", "pool", "fire"]
    index: int = 0
    stride: int = 1
    padding: int = 1
    compared: bool = False


_POOL = Step("pool")


def _conv(index: int, compared: bool = False, stride: int = 1, padding: int = 1) -> Step:
    return Step("conv", index, stride, padding, compared)


def _fire(index: int, compared: bool = False) -> Step:
    return Step("fire", index, compared=compared)


ALEX = (
    _conv(0, True, 4, 2),
    _POOL,
    _conv(3, True, padding=2),
    _POOL,
    *(_conv(index, True) for index in (6, 8, 10)),
)
VGG = (
    *(_conv(index, index == 2) for index in (0, 2)),
    _POOL,
    *(_conv(index, index == 7) for index in (5, 7)),
    _POOL,
    *(_conv(index, index == 14) for index in (10, 12, 14)),
    _POOL,
    *(_conv(index, index == 21) for index in (17, 19, 21)),
    _POOL,
    *(_conv(index, index == 28) for index in (24, 26, 28)),
)
SQUEEZE = (
    _conv(0, True, 2, 0),
    _POOL,
    *(_fire(index, index == 4) for index in (3, 4)),
    _POOL,
    *(_fire(index, index == 7) for index in (6, 7)),
    _POOL,
    *(_fire(index, True) for index in (9, 10, 11, 12)),
)
BACKBONES: dict[str, tuple[Step, ...]] = {"alex": ALEX, "vgg": VGG, "squeeze": SQUEEZE}
POOLS: dict[str, Pool] = {
    "alex": lambda x: F.max_pool2d(x, 3, 2),
    "vgg": lambda x: F.max_pool2d(x, 2, 2),
    "squeeze": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
}
_FIRE_PARTS = ("squeeze", "expand1x1", "expand3x3")


def parameter_names(steps: tuple[Step, ...]) -> frozenset[str]:
    """Keys of the weights that a backbone reads, as torchvision names them: "features.0.weight"."""
    layers = [
        f"features.{step.index}{part}"
        for step in steps
        if step.kind != "pool"
        for part in ([f".{name}" for name in _FIRE_PARTS] if step.kind == "fire" else [""])
    ]
    return frozenset(f"{layer}.{part}" for layer in layers for part in ("weight", "bias"))


def compared_layers(steps: tuple[Step, ...], pool: Pool, weights: Mapping[str, Tensor], x: Tensor) -> Iterator[Tensor]:
    """The outputs of the compared layers, behind their ReLU, each (N, C, H, W)."""
    x = x.contiguous(memory_format=torch.channels_last)

    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding).relu()

    for step in steps:
        name = f"features.{step.index}"
        if step.kind == "pool":
            x = pool(x)
        elif step.kind == "conv":
            x = conv(name, x, step.stride, step.padding)
        else:
            x = conv(f"{name}.squeeze", x)
            x = torch.cat([conv(f"{name}.expand1x1", x), conv(f"{name}.expand3x3", x, padding=1)], 1)
        if step.compared:
            yield x
