"""DDPM++ and NCSN++, the U-Nets of Song et al. (2021) as Karras et al. (2022) trained them ("SongUNet")."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.score.edm.layers import (
    BlockStyle,
    FourierEmbedding,
    PositionalEmbedding,
    ResampledConv2d,
    make_decoder,
    make_encoder,
    normalisation,
    one_hot,
)
from tangency.score.edm.unet_options import SongOptions, plain_options

_EPS, _GAIN = 1e-6, math.sqrt(0.5)


@final
class SongUNet(nn.Module):
    """F(c_in u; t, y) of DDPM++ or NCSN++, with the parameter names of the published files.

    Args:
        options: what shapes it.

    Example:
        >>> net = SongUNet(SongOptions(8, 3, 3, label_dim=10, model_channels=8, channel_mult=(1, 2), num_blocks=1))
        >>> net(torch.rand(2, 3, 8, 8), torch.zeros(2), torch.tensor([0, 9])).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, options: SongOptions) -> None:
        super().__init__()
        self.options = options
        noise = options.model_channels * options.channel_mult_noise
        embedded = options.model_channels * options.channel_mult_emb
        fourier = options.embedding_type == "fourier"
        self.map_noise = FourierEmbedding(noise) if fourier else PositionalEmbedding(noise, True, sine_first=True)
        self.map_label = nn.Linear(options.label_dim, noise) if options.label_dim else None
        self.map_augment = nn.Linear(options.augment_dim, noise, bias=False) if options.augment_dim else None
        self.map_layer0 = nn.Linear(noise, embedded)
        self.map_layer1 = nn.Linear(embedded, embedded)
        taps = options.resample_filter
        style = BlockStyle(embedded, options.dropout, _EPS, taps, _GAIN, scale_and_shift=False, project=True)
        self.enc, widths = make_encoder(options, style, options.model_channels)
        self.dec = make_decoder(options, style, widths, everywhere=False)
        self._add_image_inputs()
        self._add_image_outputs()

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times (N,); y (N,) int64 in [0, label_dim), None for no label."""
        embedding = self.map_noise(time)
        if self.map_label is not None:
            label = one_hot(y, self.options.label_dim, embedding)
            embedding = embedding + self.map_label(math.sqrt(self.options.label_dim) * label)
        embedding = F.silu(self.map_layer1(F.silu(self.map_layer0(embedding))))
        return self._decode(*self._encode(x, embedding), embedding)

    def _encode(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The coarsest answer, and all answers from first to last."""
        image, kept = x, []
        for level, (size, _, _) in enumerate(self.options.levels):
            if level:
                x = self.enc[f"{size}_down"](x, embedding)
                x, image = self._with_image(size, x, image)
            else:
                x = self.enc[f"{size}_conv"](x)
            kept.append(x)
            for index in range(self.options.num_blocks):
                x = self.enc[f"{size}_block{index}"](x, embedding)
                kept.append(x)
        return x, kept

    def _with_image(self, size: str, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """x with the image, as far as it has come, added; and the image one level further."""
        if self.options.encoder_type == "skip":
            image = self.enc[f"{size}_aux_down"](image)
            return x + self.enc[f"{size}_aux_skip"](image), image
        if self.options.encoder_type == "residual":
            x = (x + self.enc[f"{size}_aux_residual"](image)) * _GAIN
            return x, x
        return x, image

    def _decode(self, x: Tensor, kept: list[Tensor], embedding: Tensor) -> Tensor:
        image = None
        for depth, (size, _, _) in enumerate(reversed(self.options.levels)):
            for name in ("up",) if depth else ("in0", "in1"):
                x = self.dec[f"{size}_{name}"](x, embedding)
            for index in range(self.options.num_blocks + 1):
                x = self.dec[f"{size}_block{index}"](torch.cat([x, kept.pop()], dim=1), embedding)
            if f"{size}_aux_conv" in self.dec:
                part = self.dec[f"{size}_aux_conv"](F.silu(self.dec[f"{size}_aux_norm"](x)))
                image = part if image is None else part + self.dec[f"{size}_aux_up"](image)
        assert image is not None  # the finest level always makes one
        return image

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
        """Layers that read an image off the finest level, or off all of them."""
        channels, taps = self.options.out_channels, self.options.resample_filter
        skip = self.options.decoder_type == "skip"
        for level, (size, width, _) in enumerate(self.options.levels):
            if skip or level == 0:
                self.dec[f"{size}_aux_norm"] = normalisation(width, _EPS)
                self.dec[f"{size}_aux_conv"] = ResampledConv2d(width, channels, 3)
            if skip and level < len(self.options.levels) - 1:
                self.dec[f"{size}_aux_up"] = ResampledConv2d(channels, channels, 0, up=True, taps=taps)


def build_songunet(options: dict[str, Any]) -> nn.Module:
    """The network of a card's options."""
    return SongUNet(SongOptions(**plain_options(options)))
