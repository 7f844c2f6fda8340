"""The CIFAR networks of robustness papers, under the names of weights that their checkpoints have.

ResNet and PreActResNet for 32×32 images (He et al., arXiv 1512.03385 and 1603.05027, with a 3×3 stem), as in
MadryLab/robustness and RobustBench, and the wide ResNet (Zagoruyko and Komodakis, arXiv 1605.07146) of TRADES, with the
twin of FixMatch-pytorch, whose weights have the same names.
"""

from __future__ import annotations

import re

from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import ModelError, unknown_name
from tangency.models.architectures.cifar_chains import DENSENETS, VGGS, CifarDenseNet, CifarVGG
from tangency.models.architectures.layers import applied


def _conv(before: int, after: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride, size // 2, bias=False)


class Basic(nn.Module):
    """relu(x + bn2(conv2(relu(bn1(conv1(x))))))."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(before, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.shortcut = _shortcut(before, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(branch + self.shortcut(x))


class Bottleneck(nn.Module):
    """As `Basic`, with 1×1, 3×3 and 1×1 convolutions."""

    expansion = 4

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(before, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.shortcut = _shortcut(before, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(branch)) + self.shortcut(x))


def _shortcut(before: int, after: int, stride: int) -> nn.Sequential:
    if stride == 1 and before == after:
        return nn.Sequential()
    return nn.Sequential(_conv(before, after, 1, stride), nn.BatchNorm2d(after))


class _PreActivated(nn.Module):
    """Two convolutions, each behind normalisation and activation, and a shortcut around them."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(before), _conv(before, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), _conv(width, width, 3)

    def branch(self, x: Tensor, leak: float = 0.0) -> Tensor:
        """conv2(relu(bn2(conv1(x))))."""
        return applied(self.conv2, _relu(self.bn2(self.conv1(x)), leak))


def _relu(x: Tensor, leak: float = 0.0) -> Tensor:
    return F.leaky_relu(x, leak) if leak else F.relu(x)


class PreActBasic(_PreActivated):
    """x + conv2(relu(bn2(conv1(relu(bn1(x)))))); where the shape changes, the shortcut sees x before bn1."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__(before, width, stride)
        changes = stride != 1 or before != width
        self.shortcut = nn.Sequential(_conv(before, width, 1, stride)) if changes else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(F.relu(self.bn1(x))) + applied(self.shortcut, x)


class PreActV2(PreActBasic):
    """As `PreActBasic`, but the shortcut sees relu(bn1(x)) where the shape changes; the names are the same."""

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(x))
        return self.branch(inner) + (applied(self.shortcut, inner) if len(self.shortcut) else x)


Block = type[Basic] | type[Bottleneck] | type[PreActBasic]


class CifarResNet(nn.Module):
    """Stem, four stages, pooling over the last map, a linear layer.

    Args:
        shape: (C, H, W).
        classes: number of logits.
        block: of the stages.
        depths: blocks of each stage.
        width: channels of the first stage.
        head_norm: bn and relu before pooling; pre-activation networks only, and not RobustBench's.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        block: Block,
        depths: tuple[int, ...],
        width: int = 64,
        head_norm: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(shape[0], width, 3)
        self.bn1: nn.Module = nn.Identity() if issubclass(block, PreActBasic) else nn.BatchNorm2d(width)
        before, self.stages = width, len(depths)
        for stage, depth in enumerate(depths):
            after, layers = width * 2**stage, []
            for index in range(depth):
                layers.append(block(before, after, 2 if stage and not index else 1))
                before = after * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.preactivated = issubclass(block, PreActBasic)
        self.bn: nn.Module = nn.BatchNorm2d(before) if head_norm else nn.Identity()
        self.head_norm = head_norm
        self.linear = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        x = self.conv1(x)
        x = x if self.preactivated else F.relu(self.bn1(x))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        x = F.relu(self.bn(x)) if self.head_norm else x
        return applied(self.linear, x.mean((2, 3)))


class WideBlock(_PreActivated):
    """x + conv2(relu(bn2(conv1(relu(bn1(x)))))); where the width changes, the shortcut sees relu(bn1(x))."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__(before, after, stride)
        self.convShortcut = None if before == after else _conv(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(x))
        return self.branch(inner) + (x if self.convShortcut is None else applied(self.convShortcut, inner))


_LEAK = 0.1


class FixMatchBlock(WideBlock):
    """As `WideBlock` with leaky ReLUs; where the width changes, conv1 and the shortcut see x, not relu(bn1(x)).

    In the first stage, whose width changes too, both see relu(bn1(x)) (`activated`).
    """

    activated = False

    def forward(self, x: Tensor) -> Tensor:
        inner = F.leaky_relu(self.bn1(x), _LEAK)
        if self.convShortcut is None:
            return self.branch(inner, _LEAK) + x
        inner = inner if self.activated else x
        return self.branch(inner, _LEAK) + applied(self.convShortcut, inner)


class _FixMatchFirst(FixMatchBlock):
    activated = True


class _WideStage(nn.Module):
    """Blocks under the name that checkpoints give them, `blockK.layer.I`."""

    def __init__(self, before: int, after: int, depth: int, stride: int, block: type[WideBlock]) -> None:
        super().__init__()
        first = block(before, after, stride)
        self.layer = nn.Sequential(first, *(block(after, after, 1) for _ in range(depth - 1)))

    def forward(self, x: Tensor) -> Tensor:
        return applied(self.layer, x)


class WideResNet(nn.Module):
    """WRN-depth-factor.

    Args:
        shape: (C, H, W).
        classes: number of logits.
        depth: 6n + 4.
        factor: widening of 16, 32 and 64 channels.
        fixmatch: blocks of FixMatch-pytorch in place of TRADES'.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, depth: int, factor: int, fixmatch: bool = False
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ModelError(f"cifar:wrn-{depth}-{factor}: got depth {depth}, expected 6 n + 4, such as 28 or 34.")
        widths = [16 * factor, 32 * factor, 64 * factor]
        first, block = (_FixMatchFirst, FixMatchBlock) if fixmatch else (WideBlock, WideBlock)
        self.leak = _LEAK if fixmatch else 0.0
        self.conv1 = _conv(shape[0], 16, 3)
        self.block1 = _WideStage(16, widths[0], blocks, 1, first)
        self.block2 = _WideStage(widths[0], widths[1], blocks, 2, block)
        self.block3 = _WideStage(widths[1], widths[2], blocks, 2, block)
        self.bn1 = nn.BatchNorm2d(widths[2])
        self.fc = nn.Linear(widths[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return applied(self.fc, _relu(self.bn1(x), self.leak).mean((2, 3)))


_RESNETS: dict[str, tuple[Block, tuple[int, ...], int]] = {
    "resnet18": (Basic, (2, 2, 2, 2), 64),
    "resnet18wide": (Basic, (2, 2, 2, 2), 96),
    "resnet18thin": (Basic, (2, 2, 2, 2), 48),
    "resnet34": (Basic, (3, 4, 6, 3), 64),
    "resnet50": (Bottleneck, (3, 4, 6, 3), 64),
    "resnet101": (Bottleneck, (3, 4, 23, 3), 64),
    "resnet152": (Bottleneck, (3, 8, 36, 3), 64),
    "preactresnet18": (PreActBasic, (2, 2, 2, 2), 64),
    "preactresnet18v2": (PreActV2, (2, 2, 2, 2), 64),
    "preactresnet34": (PreActBasic, (3, 4, 6, 3), 64),
    "preactresnet34v2": (PreActV2, (3, 4, 6, 3), 64),
}
_NORMED = tuple(f"{name}bn" for name in _RESNETS if name.startswith("preact"))
NAMES = (*_RESNETS, *_NORMED, *VGGS, *DENSENETS, "wrn-DEPTH-FACTOR", "wrn-DEPTH-FACTOR-fixmatch")


def build_cifar(name: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network by name: one of `NAMES`; "bn" behind a pre-activation network puts one before pooling.

    Raises:
        ModelError: an unknown name.
    """
    wide = re.fullmatch(r"wrn-(\d{1,3})-(\d{1,2})(-fixmatch)?", name)
    if wide:
        return WideResNet(shape, classes, int(wide[1]), int(wide[2]), bool(wide[3]))
    if name in VGGS:
        return CifarVGG(shape, classes, VGGS[name])
    if name in DENSENETS:
        return CifarDenseNet(shape, classes, *DENSENETS[name])
    head_norm = name.startswith("preact") and name.endswith("bn")
    plain = name.removesuffix("bn") if head_norm else name
    if plain not in _RESNETS:
        raise ModelError(unknown_name("CIFAR network", name, NAMES))
    block, depths, width = _RESNETS[plain]
    return CifarResNet(shape, classes, block, depths, width, head_norm)
