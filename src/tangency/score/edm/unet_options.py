"""The constructor arguments of the U-Nets of Karras et al. (2022), under their published names and within bounds.

The arguments may come from an untrusted file, so each is checked before a layer is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tangency.errors import SpecError, unknown_name
from tangency.formats.plain import brief

_BOUNDS = {
    "img_resolution": (1, 1024),
    "in_channels": (1, 64),
    "out_channels": (1, 128),
    "label_dim": (0, 100_000),
    "augment_dim": (0, 1024),
    "model_channels": (4, 2048),
    "channel_mult_emb": (1, 16),
    "channel_mult_noise": (1, 16),
    "num_blocks": (1, 16),
}
_MOST_LEVELS, _MOST_TAPS, _LARGEST_MULTIPLE, _MOST_RESOLUTIONS, _LARGEST_TAP = 8, 16, 16, 16, 1e6


@dataclass(frozen=True)
class UNetOptions:
    """Arguments that the U-Nets share.

    Args:
        img_resolution: height and width of an image.
        in_channels: channels of an image.
        out_channels: channels of the output.
        label_dim: number of classes, 0 for none.
        augment_dim: length of the augmentation label of training, 0 for none; it is zero in use.
        model_channels: width that the other widths are multiples of.
        channel_mult: width of each level, the finest first.
        channel_mult_emb: width of the embedding of noise level and class.
        num_blocks: residual blocks of a level.
        attn_resolutions: sizes in pixels of the levels with attention.
        dropout: of activations, while training.
        label_dropout: share of the labels that were hidden in training; above 0 it works without a label, too.

    Raises:
        SpecError: an argument of another type, or out of bounds.
    """

    img_resolution: int
    in_channels: int
    out_channels: int
    label_dim: int = 0
    augment_dim: int = 0
    model_channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 2, 2)
    channel_mult_emb: int = 4
    num_blocks: int = 4
    attn_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    label_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            if hasattr(self, name):
                _check_integer(name, getattr(self, name), least, most)
        _check_length("channel_mult", self.channel_mult, 1, _MOST_LEVELS)
        _check_length("attn_resolutions", self.attn_resolutions, 0, _MOST_RESOLUTIONS)
        for each in self.channel_mult:
            _check_integer("channel_mult", each, 1, _LARGEST_MULTIPLE)
        for each in self.attn_resolutions:
            _check_integer("attn_resolutions", each, 1, _BOUNDS["img_resolution"][1])
        for name in ("dropout", "label_dropout"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value < 1:
                raise SpecError(f"{name}: got {brief(value)}, expected a number in [0, 1).")
        coarsest = 2 ** (len(self.channel_mult) - 1)
        if self.img_resolution % coarsest or self.model_channels % 2:
            raise SpecError(
                f"U-Net: got img_resolution {self.img_resolution} and model_channels {self.model_channels}, expected a "
                f"multiple of {coarsest} for {len(self.channel_mult)} levels, and an even number."
            )

    @property
    def levels(self) -> tuple[tuple[str, int, bool], ...]:
        """(name of the size, width, whether it has attention) of each level, the finest first."""
        sizes = [self.img_resolution >> level for level in range(len(self.channel_mult))]
        return tuple(
            (f"{size}x{size}", self.model_channels * multiple, size in self.attn_resolutions)
            for size, multiple in zip(sizes, self.channel_mult, strict=True)
        )


@dataclass(frozen=True)
class SongOptions(UNetOptions):
    """Arguments of DDPM++ (the defaults) and NCSN++ ("fourier", 2, "residual", "standard", (1, 3, 3, 1)).

    Args:
        embedding_type: "positional" or "fourier", of the noise level.
        channel_mult_noise: width of that embedding.
        encoder_type: "standard", or the image added at every level by "skip" or "residual".
        decoder_type: "standard", or "skip" for an image added up over the levels.
        resample_filter: weights along one axis of the filter that halves and doubles the size.
    """

    embedding_type: str = "positional"
    channel_mult_noise: int = 1
    encoder_type: str = "standard"
    decoder_type: str = "standard"
    resample_filter: tuple[float, ...] = (1, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (
            ("embedding_type", ("fourier", "positional")),
            ("encoder_type", ("residual", "skip", "standard")),
            ("decoder_type", ("skip", "standard")),
        ):
            if getattr(self, name) not in known:
                raise SpecError(unknown_name(name, brief(getattr(self, name)), known))
        taps = self.resample_filter
        _check_length("resample_filter", taps, 2, _MOST_TAPS)
        if len(taps) % 2 or not all(type(t) in (int, float) and abs(t) <= _LARGEST_TAP for t in taps) or not sum(taps):
            raise SpecError(
                f"resample_filter: got {brief(taps)}, expected an even number of numbers whose sum is not 0."
            )


@dataclass(frozen=True)
class DhariwalOptions(UNetOptions):
    """Arguments of ADM, with the defaults of ImageNet at 64×64."""

    model_channels: int = 192
    channel_mult: tuple[int, ...] = (1, 2, 3, 4)
    num_blocks: int = 3
    attn_resolutions: tuple[int, ...] = (32, 16, 8)


def plain_options(options: Mapping[str, object]) -> dict[str, object]:
    """The same with lists as tuples and NumPy numbers as Python's."""
    return {name: _plain(value) for name, value in options.items()}


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):  # not deeper: a hostile file may nest lists without end
        return tuple(part.item() if isinstance(part, np.generic) else part for part in value)
    return value.item() if isinstance(value, np.generic) else value


def _check_integer(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise SpecError(f"{name}: got {brief(value)}, expected a whole number from {least} to {most}.")


def _check_length(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, tuple) or not least <= len(value) <= most:
        raise SpecError(f"{name}: got {brief(value)}, expected {least} to {most} numbers.")
