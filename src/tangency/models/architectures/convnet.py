"""The small network of the embedded study: robust training in seconds on one core."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import ModelError
from tangency.models.architectures.layers import activation as make_activation
from tangency.models.architectures.layers import applied
from tangency.models.architectures.layers import norm as make_norm


class ConvNet(nn.Module):
    """Three 3×3 convolutions over 2×2 pixel blocks, then a linear layer on at most 4×4 cells.

    Folding 2×2 pixels into channels equals a 6×6 convolution of stride 2, but its input gradient, the bulk of
    adversarial and gradient-norm training, is about twice as fast on a CPU.

    Args:
        shape: (C, H, W), sides of at least 8 pixels; an odd side is padded by one row or column.
        classes: number of logits.
        channels: widths of the three convolutions.
        activation: relu, silu, gelu or softplus; smooth ones suit the gradient-norm penalty.
        norm: none, group or batch.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        channels: Sequence[int] = (16, 32, 64),
        activation: str = "silu",
        norm: str = "none",
    ) -> None:
        super().__init__()
        image_channels, height, width = shape
        if min(height, width) < 8:
            raise ModelError(f"convnet: got images of {height}x{width} pixels, expected sides of at least 8.")
        if len(channels) != 3 or min(channels) < 1:
            raise ModelError(f"convnet: got channels {list(channels)}, expected three positive widths.")
        layers: list[nn.Module] = []
        before = 4 * image_channels
        for after, stride in zip(channels, (1, 2, 2), strict=True):
            layers += [nn.Conv2d(before, after, 3, stride, 1), make_norm(norm, after), make_activation(activation)]
            before = after
        self.odd = (0, width % 2, 0, height % 2)
        self.features = nn.Sequential(*layers)
        cells = tuple(min(4, -(-side // 8)) for side in (height, width))
        # More cells would make the linear layer grow with the image; the images of the study have 4×4 anyway.
        self.pool = nn.AdaptiveAvgPool2d(cells) if max(height, width) > 32 else nn.Identity()
        self.head = nn.Linear(before * cells[0] * cells[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        blocks = fold(F.pad(x, self.odd) if any(self.odd) else x)
        return applied(self.head, self.pool(self.features(blocks)).flatten(1))


def fold(x: Tensor) -> Tensor:
    """2×2 pixels into channels, (N, C, 2H, 2W) to (N, 4C, H, W), as `pixel_unshuffle`, which fails for N = 0."""
    n, channels, height, width = x.shape
    blocks = x.reshape(n, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return blocks.reshape(n, 4 * channels, height // 2, width // 2)
