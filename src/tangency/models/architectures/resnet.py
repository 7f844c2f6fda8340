"""The ResNet-18 of the paper (He et al., arXiv 1512.03385), with the stem for CIFAR or the one for ImageNet."""

from __future__ import annotations

from torch import Tensor, nn

from tangency.errors import ModelError, unknown_name
from tangency.models.architectures.layers import activation as make_activation
from tangency.models.architectures.layers import applied
from tangency.models.architectures.layers import norm as make_norm

STEMS = {"cifar": (3, 1, False), "imagenet": (7, 2, True)}  # side and stride of the convolution, whether maxima follow


class Block(nn.Module):
    """activation(x + norm(conv(activation(norm(conv(x)))))), with a 1×1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, stride: int, activation: str, norm: str) -> None:
        super().__init__()
        bias = norm == "none"
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=bias)
        self.norm1 = make_norm(norm, after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=bias)
        self.norm2 = make_norm(norm, after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=bias), make_norm(norm, after))
        self.activation = make_activation(activation)
        if norm == "none":
            # Without normalisation the branches must start at zero, else the signal doubles with every block.
            nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm2(self.conv2(self.activation(self.norm1(self.conv1(x)))))
        return applied(self.activation, branch + self.shortcut(x))


class ResNet18(nn.Module):
    """Four stages of two blocks, global average pooling, a linear layer.

    Deviation from the published code: the whole last map is pooled, for any size (there a fixed 4×4 window
    dropped the lower part of 56×28 images).

    Args:
        shape: (C, H, W), sides of at least 8 pixels.
        classes: number of logits.
        activation: relu (as published), silu, gelu or softplus.
        norm: batch (as published), group or none.
        width: channels of the first stage; the stages have 1, 2, 4 and 8 times as many.
        stem: "cifar", a 3×3 convolution; or "imagenet", one of 7×7 at stride 2, then maxima of 3×3 at stride 2: the
            network is then torchvision's resnet18.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        activation: str = "relu",
        norm: str = "batch",
        width: int = 64,
        stem: str = "cifar",
    ) -> None:
        super().__init__()
        if min(shape[1:]) < 8 or width < 1:
            raise ModelError(f"resnet18: got images {shape} and width {width}, expected sides >= 8 and width >= 1.")
        if stem not in STEMS:
            raise ModelError(unknown_name("stem", stem, STEMS))
        size, stride, pooled = STEMS[stem]
        self.stem = nn.Sequential(
            nn.Conv2d(shape[0], width, size, stride, size // 2, bias=norm == "none"),
            make_norm(norm, width),
            make_activation(activation),
            *([nn.MaxPool2d(3, 2, 1)] if pooled else []),
        )
        blocks: list[nn.Module] = []
        before = width
        for block in range(8):
            after, stride = width * 2 ** (block // 2), 2 if block in (2, 4, 6) else 1
            blocks.append(Block(before, after, stride, activation, norm))
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        return applied(self.head, self.blocks(self.stem(x)).mean((2, 3)))
