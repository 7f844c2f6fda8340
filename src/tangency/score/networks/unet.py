"""Our own score network: diffusers' U-Net for images of any size, conditional and unconditional in one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import SpecError, unknown_name
from tangency.score.networks.parametrisation import TIME_SCALE

_FEWEST_CHANNELS, _MOST_GROUPS = 4, 32  # of a normalisation group; groups of a layer


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


class ScoreUNet(nn.Module):
    """F(c_in u; t, y): `diffusers.UNet2DModel` with positional time embedding and a table of classes.

    The table holds every class, "no class", and all of them once more for mirrored images, so that the network knows
    that an image is mirrored and need not answer for it otherwise.

    Args:
        channels: of an image.
        classes: number of classes, 0 for none.
        size: in `PRESETS`, or give widths, blocks and attention.
        mirrored: whether it is trained on mirrored images too.
        dropout: of the residual blocks.
        patch: side of the squares of pixels that become channels of one position, 1 for none: a cheaper network of
            large or smooth images (Hoogeboom et al. 2023, simple diffusion).
        modulated: whether noise level and class also scale the features of a block, not only shift them (Dhariwal &
            Nichol 2021).

    Example:
        >>> net = ScoreUNet(channels=1, classes=3, size="tiny")
        >>> net(torch.rand(2, 1, 9, 14), torch.zeros(2), torch.tensor([0, 3])).shape
        torch.Size([2, 1, 9, 14])
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        size: str = "small",
        widths: tuple[int, ...] = (),
        blocks: int = 0,
        attention: tuple[int, ...] | None = None,
        mirrored: bool = False,
        dropout: float = 0.0,
        patch: int = 1,
        modulated: bool = False,
    ) -> None:
        from diffusers import UNet2DModel

        super().__init__()
        if size not in PRESETS:
            raise SpecError(unknown_name("size of score network", size, PRESETS))
        preset = PRESETS[size]
        widths, blocks = tuple(widths) or preset.widths, blocks or preset.blocks
        chosen = preset.attention if attention is None else attention
        if min(widths) < _FEWEST_CHANNELS or blocks < 1 or not set(chosen) <= set(range(len(widths))):
            raise SpecError(
                f"score network: got widths {widths}, {blocks} blocks, attention at levels {tuple(chosen)}; expected "
                f"widths of at least {_FEWEST_CHANNELS}, at least 1 block, levels 0 to {len(widths) - 1}."
            )
        if patch < 1:
            raise SpecError(f"score network: got patches of side {patch}, expected at least 1.")
        self.classes, self.mirrored, self.patch = classes, mirrored, patch
        self.multiple = patch * 2 ** (len(widths) - 1)
        kinds = ["Attn" if level in chosen else "" for level in range(len(widths))]
        self.net = UNet2DModel(
            in_channels=channels * patch**2,
            out_channels=channels * patch**2,
            block_out_channels=widths,
            layers_per_block=blocks,
            down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
            up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
            add_attention=bool(chosen),
            attention_head_dim=reduce(math.gcd, widths),
            norm_num_groups=groups(widths),
            time_embedding_type="positional",
            num_class_embeds=(classes + 1) * (2 if mirrored else 1),
            dropout=dropout,
            resnet_time_scale_shift="scale_shift" if modulated else "default",
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
        found: Tensor = self.net(patches, time * TIME_SCALE, class_labels=y, return_dict=False)[0]
        return F.pixel_shuffle(found, self.patch)[:, :, :height, :width]


def groups(widths: tuple[int, ...]) -> int:
    """Normalisation groups that divide every width, as many as leave at least four channels each (at most 32)."""
    common = reduce(math.gcd, widths)
    return max(g for g in range(1, _MOST_GROUPS + 1) if common % g == 0 and (g == 1 or common // g >= _FEWEST_CHANNELS))


def resolved_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the widths, blocks and attention that a name of `PRESETS` stands for, as JSON keeps them.

    A card holds these, so that a file never depends on what a name means later.
    """
    size = str(options.get("size", "small"))
    if size not in PRESETS:
        raise SpecError(unknown_name("size of score network", size, PRESETS))
    preset = PRESETS[size]
    found = {name: value for name, value in options.items() if name != "size"}
    attention = preset.attention if found.get("attention") is None else found["attention"]
    found |= {"widths": list(found.get("widths") or preset.widths), "blocks": found.get("blocks") or preset.blocks}
    return found | {"attention": list(attention)}


def build_unet(options: Mapping[str, Any]) -> nn.Module:
    """The network of a card's options."""
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    return ScoreUNet(**plain)
