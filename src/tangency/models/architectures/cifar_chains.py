"""The VGG networks and DenseNets for 32×32 images of pytorch-cifar and MadryLab/robustness, with their own names.

Simonyan and Zisserman, arXiv 1409.1556, with batch normalisation, and one linear layer instead of three; Huang et al.,
arXiv 1608.06993 (DenseNet-BC), with a 3×3 stem.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.models.architectures.layers import applied

# Name -> convolutions of each of five stages, between which the image is halved.
VGGS: dict[str, tuple[int, ...]] = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_WIDTHS = (64, 128, 256, 512, 512)


class CifarVGG(nn.Module):
    """Stages of 3×3 convolutions, batch normalisation and relu, each followed by a maximum over 2×2 pixels.

    Args:
        shape: (C, H, W) with sides from 32 to 63 pixels.
        classes: number of logits.
        depths: convolutions of each stage.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, depths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = shape[0]
        for depth, width in zip(depths, _WIDTHS, strict=True):
            for _ in range(depth):
                layers += [nn.Conv2d(before, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU()]
                before = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        return applied(self.classifier, self.features(x).flatten(1))


# Name -> layers of each of four blocks, and maps that a layer adds.
DENSENETS: dict[str, tuple[tuple[int, ...], int]] = {
    "densenet_cifar": ((6, 12, 24, 16), 12),
    "densenet121": ((6, 12, 24, 16), 32),
    "densenet161": ((6, 12, 36, 24), 48),
    "densenet169": ((6, 12, 32, 32), 32),
    "densenet201": ((6, 12, 48, 32), 32),
}


class _DenseLayer(nn.Module):
    """[conv2(relu(bn2(conv1(relu(bn1(x)))))), x]."""

    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, 4 * growth, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x)))))), x], 1)


class _Transition(nn.Module):
    """Half the maps, then means over 2×2 pixels."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(before), nn.Conv2d(before, before // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class CifarDenseNet(nn.Module):
    """Stem, four dense blocks with transitions between, bn and relu, pooling over the last map, a linear layer.

    Args:
        shape: (C, H, W).
        classes: number of logits.
        depths: layers of each block.
        growth: maps that a layer adds.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, depths: tuple[int, ...], growth: int) -> None:
        super().__init__()
        width = 2 * growth
        self.conv1 = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        self.blocks = len(depths)
        for number, depth in enumerate(depths, 1):
            self.add_module(
                f"dense{number}", nn.Sequential(*(_DenseLayer(width + i * growth, growth) for i in range(depth)))
            )
            width += depth * growth
            if number < len(depths):
                self.add_module(f"trans{number}", _Transition(width))
                width //= 2
        self.bn = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        x = self.conv1(x)
        for number in range(1, self.blocks + 1):
            x = self.get_submodule(f"dense{number}")(x)
            x = self.get_submodule(f"trans{number}")(x) if number < self.blocks else x
        return applied(self.linear, F.relu(self.bn(x)).mean((2, 3)))
