"""The VGG networks for 32×32 images of pytorch-cifar and MadryLab/robustness, under the names of their weights.

Simonyan and Zisserman, arXiv 1409.1556, with batch normalisation, and one linear layer in place of three.
"""

from __future__ import annotations

from torch import Tensor, nn

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
