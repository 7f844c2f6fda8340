"""U-Nets of diffusers: our own score network, for images of any size, and networks as they were trained elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import SpecError, unknown_name
from tangency.score.networks.parametrisation import TIME_SCALE

_FEWEST_CHANNELS, _MOST_GROUPS = 4, 32  # channels of a normalisation group; groups of a layer


@dataclass(frozen=True)
class Preset:
    """Widths of the levels, residual blocks of each, and the levels that have attention."""

    widths: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]


PRESETS = {
    "tiny": Preset((12, 24, 36), 1, (2,)),
    "small": Preset((16, 32, 80), 1, (2,)),
    "medium": Preset((32, 64, 96), 1, (2,)),
    "large": Preset((32, 64, 128), 2, (2,)),
    "cifar": Preset((128, 256, 256, 256), 2, (1,)),
}


@dataclass(frozen=True)
class ScoreUNetOptions:
    """What shapes a `ScoreUNet`.

    Args:
        channels: of an image.
        classes: number of classes, 0 for none.
        widths: channels of each level, the finest first.
        blocks: residual blocks of a level.
        attention: levels that have it.
        mirrored: whether it is trained on mirrored images too.
        dropout: of the residual blocks.
        patch: side of the squares of pixels that become channels of one position, 1 for none: a cheaper network of
            large or smooth images (Hoogeboom et al. 2023, simple diffusion).
        modulated: whether noise level and class also scale the features of a block, not only shift them (Dhariwal &
            Nichol 2021).
    """

    channels: int
    classes: int
    widths: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    mirrored: bool = False
    dropout: float = 0.0
    patch: int = 1
    modulated: bool = False

    def __post_init__(self) -> None:
        last = len(self.widths) - 1
        if min(self.widths) < _FEWEST_CHANNELS or self.blocks < 1 or not set(self.attention) <= set(range(last + 1)):
            raise SpecError(
                f"score network: got widths {self.widths}, {self.blocks} blocks, attention at levels {self.attention}; "
                f"expected widths of at least {_FEWEST_CHANNELS}, at least 1 block, levels 0 to {last}."
            )
        if self.patch < 1:
            raise SpecError(f"score network: got patches of side {self.patch}, expected at least 1.")


class ScoreUNet(nn.Module):
    """F(c_in u; t, y): `diffusers.UNet2DModel` with positional time embedding and a table of classes.

    The table holds every class, "no class", and all of them once more for mirrored images, so that the network knows
    that an image is mirrored and can treat it as such.

    Args:
        options: its widths, levels and classes.

    Example:
        >>> net = ScoreUNet(ScoreUNetOptions(channels=1, classes=3, widths=(4, 8), blocks=1, attention=()))
        >>> net(torch.rand(2, 1, 9, 14), torch.zeros(2), torch.tensor([0, 3])).shape
        torch.Size([2, 1, 9, 14])
    """

    def __init__(self, options: ScoreUNetOptions) -> None:
        from diffusers import UNet2DModel

        super().__init__()
        self.classes, self.mirrored, self.patch = options.classes, options.mirrored, options.patch
        self.multiple = options.patch * 2 ** (len(options.widths) - 1)
        kinds = ["Attn" if level in options.attention else "" for level in range(len(options.widths))]
        self.net = UNet2DModel(
            in_channels=options.channels * options.patch**2,
            out_channels=options.channels * options.patch**2,
            block_out_channels=options.widths,
            layers_per_block=options.blocks,
            down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
            up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
            add_attention=bool(options.attention),
            attention_head_dim=math.gcd(*options.widths),
            norm_num_groups=groups(options.widths),
            time_embedding_type="positional",
            num_class_embeds=(options.classes + 1) * (2 if options.mirrored else 1),
            dropout=options.dropout,
            resnet_time_scale_shift="scale_shift" if options.modulated else "default",
        )

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None, mirror: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times (N,); y (N,) in [0, classes], `classes` for no label; mirror (N,) bool."""
        if y is None:
            y = torch.full((len(x),), self.classes, device=x.device)
        if mirror is not None and self.mirrored:
            y = y + (self.classes + 1) * mirror.long()
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        patches = F.pixel_unshuffle(padded, self.patch)
        output: Tensor = self.net(patches, time * TIME_SCALE, class_labels=y, return_dict=False)[0]
        return F.pixel_shuffle(output, self.patch)[:, :, :height, :width]


class DiffusersUNet(nn.Module):
    """`diffusers.UNet2DModel` for `NetworkScore`: a fractional time step stays fractional, as a tensor."""

    def __init__(self, config: Mapping[str, object]) -> None:
        from diffusers import UNet2DModel

        super().__init__()
        self.net = UNet2DModel.from_config(config)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times (N,), of classes y (N,)."""
        output: Tensor = self.net(x, time, class_labels=y, return_dict=False)[0]
        return output


def groups(widths: tuple[int, ...]) -> int:
    """Normalisation groups that divide every width, as many as leave at least four channels each (at most 32)."""
    common = math.gcd(*widths)
    return max(g for g in range(1, _MOST_GROUPS + 1) if common % g == 0 and (g == 1 or common // g >= _FEWEST_CHANNELS))


def resolved_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the widths, blocks and attention that a name of `PRESETS` stands for, as JSON keeps them.

    A card holds these, so that a file never depends on what a name means later.
    """
    size = str(options.get("size", "small"))
    if size not in PRESETS:
        raise SpecError(unknown_name("size of score network", size, PRESETS))
    preset, given = PRESETS[size], {name: value for name, value in options.items() if name != "size"}
    attention = preset.attention if given.get("attention") is None else given["attention"]
    return given | {
        "widths": list(given.get("widths") or preset.widths),
        "blocks": given.get("blocks") or preset.blocks,
        "attention": list(attention),
    }
