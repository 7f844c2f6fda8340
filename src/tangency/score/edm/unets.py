"""The U-Nets of Karras et al. (2022): DDPM++ and NCSN++ ("SongUNet") and ADM ("DhariwalUNet").

Sources: Song et al. (2021); Dhariwal and Nichol (2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.score.edm.layers import (
    BlockStyle,
    FourierEmbedding,
    PositionalEmbedding,
    ResampledConv2d,
    ResidualBlock,
    normalisation,
    one_hot,
)
from tangency.score.edm.unet_options import DhariwalOptions, SongOptions, UNetOptions

_SONG_EPS, _DHARIWAL_EPS, _GAIN, _HEAD_WIDTH = 1e-6, 1e-5, math.sqrt(0.5), 64


class LevelledUNet(nn.Module):
    """The way down and up over levels of halved size, with the parameter names of the published files."""

    def __init__(self, options: UNetOptions) -> None:
        super().__init__()
        self.options = options

    def add_levels(self, style: BlockStyle, first: int, everywhere: bool) -> None:
        """Make the layers.

        Args:
            style: of the blocks.
            first: channels that the first convolution makes of the image.
            everywhere: whether every decoder block of a level with attention attends, or only its last.
        """
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        width, widths = first, [first]
        for level, (size, target, attention) in enumerate(self.options.levels):
            if level:
                self.enc[f"{size}_down"] = ResidualBlock(width, width, style, down=True)
                widths.append(width)
            else:
                self.enc[f"{size}_conv"] = ResampledConv2d(self.options.in_channels, first, 3)
            for index in range(self.options.num_blocks):
                self.enc[f"{size}_block{index}"] = ResidualBlock(width, target, style, attention=attention)
                width = target
                widths.append(width)
        for depth, (size, target, attention) in enumerate(reversed(self.options.levels)):
            if depth:
                self.dec[f"{size}_up"] = ResidualBlock(width, width, style, up=True)
            else:
                self.dec[f"{size}_in0"] = ResidualBlock(width, width, style, attention=True)
                self.dec[f"{size}_in1"] = ResidualBlock(width, width, style)
            for index in range(self.options.num_blocks + 1):
                attends = attention and (everywhere or index == self.options.num_blocks)
                joined = width + widths.pop()
                self.dec[f"{size}_block{index}"] = ResidualBlock(joined, target, style, attention=attends)
                width = target

    def decoded(self, x: Tensor, embedding: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Name of the size and features of each decoder level, the coarsest first."""
        image, kept = x, []
        for name, layer in self.enc.items():
            if "_aux_" in name:
                continue
            x = layer(x) if name.endswith("_conv") else layer(x, embedding)
            if name.endswith("_down"):
                x, image = self.with_image(name.removesuffix("_down"), x, image)
            kept.append(x)
        for depth, (size, _, _) in enumerate(reversed(self.options.levels)):
            for name in ("up",) if depth else ("in0", "in1"):
                x = self.dec[f"{size}_{name}"](x, embedding)
            for index in range(self.options.num_blocks + 1):
                x = self.dec[f"{size}_block{index}"](torch.cat([x, kept.pop()], dim=1), embedding)
            yield size, x

    def with_image(self, size: str, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder features with the image added where the network does so, and the image at this size."""
        return x, image


@final
class DhariwalUNet(LevelledUNet):
    """F(c_in u; t, y) of ADM, with the parameter names of the published files.

    Args:
        options: its widths, levels and attention.

    Example:
        >>> net = DhariwalUNet(DhariwalOptions(8, 3, 3, label_dim=4, model_channels=8, channel_mult=(1, 2)))
        >>> net(torch.rand(2, 3, 8, 8), torch.zeros(2), torch.tensor([0, 3])).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, options: DhariwalOptions) -> None:
        super().__init__(options)
        width, embedded = options.model_channels, options.model_channels * options.channel_mult_emb
        self.map_noise = PositionalEmbedding(width)
        self.map_augment = nn.Linear(options.augment_dim, width, bias=False) if options.augment_dim else None
        self.map_layer0 = nn.Linear(width, embedded)
        self.map_layer1 = nn.Linear(embedded, embedded)
        self.map_label = nn.Linear(options.label_dim, embedded, bias=False) if options.label_dim else None
        style = BlockStyle(embedded, options.dropout, _DHARIWAL_EPS, head_width=_HEAD_WIDTH)
        finest = options.levels[0][1]
        self.add_levels(style, finest, everywhere=True)
        self.out_norm = normalisation(finest, _DHARIWAL_EPS)
        self.out_conv = ResampledConv2d(finest, options.out_channels, 3)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times (N,); y (N,) int64 in [0, label_dim), None for no label."""
        embedding = self.map_layer1(F.silu(self.map_layer0(self.map_noise(time))))
        if self.map_label is not None:
            embedding = embedding + self.map_label(one_hot(y, self.options.label_dim, embedding))
        *_, (_, features) = self.decoded(x, F.silu(embedding))
        output: Tensor = self.out_conv(F.silu(self.out_norm(features)))
        return output


@final
class SongUNet(LevelledUNet):
    """F(c_in u; t, y) of DDPM++ or NCSN++, with the parameter names of the published files.

    Args:
        options: its widths, levels, attention, embedding and skips.

    Example:
        >>> net = SongUNet(SongOptions(8, 3, 3, label_dim=10, model_channels=8, channel_mult=(1, 2), num_blocks=1))
        >>> net(torch.rand(2, 3, 8, 8), torch.zeros(2), torch.tensor([0, 9])).shape
        torch.Size([2, 3, 8, 8])
    """

    options: SongOptions

    def __init__(self, options: SongOptions) -> None:
        super().__init__(options)
        noise = options.model_channels * options.channel_mult_noise
        embedded = options.model_channels * options.channel_mult_emb
        fourier = options.embedding_type == "fourier"
        self.map_noise = FourierEmbedding(noise) if fourier else PositionalEmbedding(noise, True, sine_first=True)
        self.map_label = nn.Linear(options.label_dim, noise) if options.label_dim else None
        self.map_augment = nn.Linear(options.augment_dim, noise, bias=False) if options.augment_dim else None
        self.map_layer0 = nn.Linear(noise, embedded)
        self.map_layer1 = nn.Linear(embedded, embedded)
        taps = options.resample_filter
        style = BlockStyle(embedded, options.dropout, _SONG_EPS, taps, _GAIN, scale_and_shift=False, project=True)
        self.add_levels(style, options.model_channels, everywhere=False)
        self._add_image_inputs()
        self._add_image_outputs()

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times (N,); y (N,) int64 in [0, label_dim), None for no label."""
        embedding = self.map_noise(time)
        if self.map_label is not None:
            label = one_hot(y, self.options.label_dim, embedding)
            embedding = embedding + self.map_label(math.sqrt(self.options.label_dim) * label)
        embedding = F.silu(self.map_layer1(F.silu(self.map_layer0(embedding))))
        total: Tensor | None = None
        for size, features in self.decoded(x, embedding):
            if f"{size}_aux_conv" in self.dec:
                part = self.dec[f"{size}_aux_conv"](F.silu(self.dec[f"{size}_aux_norm"](features)))
                total = part if total is None else part + self.dec[f"{size}_aux_up"](total)
        assert total is not None  # the finest level always makes an image
        return total

    def with_image(self, size: str, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder features with the image added by a skip or a residual, and the image at this size."""
        if self.options.encoder_type == "skip":
            image = self.enc[f"{size}_aux_down"](image)
            return x + self.enc[f"{size}_aux_skip"](image), image
        if self.options.encoder_type == "residual":
            x = (x + self.enc[f"{size}_aux_residual"](image)) * _GAIN
            return x, x
        return x, image

    def _add_image_inputs(self) -> None:
        """Layers that bring the image to the coarser levels."""
        channels, taps = self.options.in_channels, self.options.resample_filter
        finer, coarser = self.options.levels[:-1], self.options.levels[1:]
        for (_, width, _), (size, _, _) in zip(finer, coarser, strict=True):
            if self.options.encoder_type == "skip":
                self.enc[f"{size}_aux_down"] = ResampledConv2d(channels, channels, 0, down=True, taps=taps)
                self.enc[f"{size}_aux_skip"] = ResampledConv2d(channels, width, 1)
            if self.options.encoder_type == "residual":
                layer = ResampledConv2d(channels, width, 3, down=True, taps=taps, fused=True)
                self.enc[f"{size}_aux_residual"] = layer
                channels = width

    def _add_image_outputs(self) -> None:
        """Layers that make an image of the finest level, or of every level."""
        channels, taps = self.options.out_channels, self.options.resample_filter
        skip = self.options.decoder_type == "skip"
        for level, (size, width, _) in enumerate(self.options.levels):
            if skip or level == 0:
                self.dec[f"{size}_aux_norm"] = normalisation(width, _SONG_EPS)
                self.dec[f"{size}_aux_conv"] = ResampledConv2d(width, channels, 3)
            if skip and level < len(self.options.levels) - 1:
                self.dec[f"{size}_aux_up"] = ResampledConv2d(channels, channels, 0, up=True, taps=taps)
