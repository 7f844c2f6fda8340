"""ADM, the U-Net of Dhariwal and Nichol (2021) as Karras et al. (2022) trained it ("DhariwalUNet")."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.score.edm.layers import (
    BlockStyle,
    PositionalEmbedding,
    ResampledConv2d,
    make_decoder,
    make_encoder,
    normalisation,
    one_hot,
)
from tangency.score.edm.unet_options import DhariwalOptions, plain_options

_EPS, _HEAD_WIDTH = 1e-5, 64


@final
class DhariwalUNet(nn.Module):
    """F(c_in u; t, y) of ADM, with the parameter names of the published files.

    Args:
        options: what shapes it.

    Example:
        >>> net = DhariwalUNet(DhariwalOptions(8, 3, 3, label_dim=4, model_channels=8, channel_mult=(1, 2)))
        >>> net(torch.rand(2, 3, 8, 8), torch.zeros(2), torch.tensor([0, 3])).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, options: DhariwalOptions) -> None:
        super().__init__()
        self.options = options
        width, embedded = options.model_channels, options.model_channels * options.channel_mult_emb
        self.map_noise = PositionalEmbedding(width)
        self.map_augment = nn.Linear(options.augment_dim, width, bias=False) if options.augment_dim else None
        self.map_layer0 = nn.Linear(width, embedded)
        self.map_layer1 = nn.Linear(embedded, embedded)
        self.map_label = nn.Linear(options.label_dim, embedded, bias=False) if options.label_dim else None
        style = BlockStyle(embedded, options.dropout, _EPS, head_width=_HEAD_WIDTH)
        finest = options.levels[0][1]
        self.enc, widths = make_encoder(options, style, finest)
        self.dec = make_decoder(options, style, widths, everywhere=True)
        self.out_norm = normalisation(finest, _EPS)
        self.out_conv = ResampledConv2d(finest, options.out_channels, 3)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times (N,); y (N,) int64 in [0, label_dim), None for no label."""
        embedding = self.map_layer1(F.silu(self.map_layer0(self.map_noise(time))))
        if self.map_label is not None:
            embedding = embedding + self.map_label(one_hot(y, self.options.label_dim, embedding))
        embedding, kept = F.silu(embedding), []
        for name, layer in self.enc.items():
            x = layer(x) if name.endswith("_conv") else layer(x, embedding)
            kept.append(x)
        for name, layer in self.dec.items():
            joined = torch.cat([x, kept.pop()], dim=1) if "_block" in name else x
            x = layer(joined, embedding)
        answer: Tensor = self.out_conv(F.silu(self.out_norm(x)))
        return answer


def build_dhariwal(options: dict[str, Any]) -> nn.Module:
    """The network of a card's options."""
    return DhariwalUNet(DhariwalOptions(**plain_options(options)))
