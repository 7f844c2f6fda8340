"""Masks of inpainting, drawn for each image on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.errors import SpecError, unknown_name
from tangency.generation.operators import Mask
from tangency.generation.options import MASKS
from tangency.seeding import Draw


def make_mask(kind: str, shape: tuple[int, int, int], share: float, draw: Draw) -> Mask:
    """Which pixels are known, one mask for each image, the same for all channels.

    Args:
        kind: "rectangle" hides one at a random place, of the image's proportions; "random" each pixel with chance
            `share`; "half" the left, right, upper or lower half.
        shape: (C, H, W).
        share: of the pixels that is hidden, in (0, 1); of no meaning for "half".
        draw: of the images.

    Example:
        >>> mask = make_mask("rectangle", (1, 8, 8), 0.25, Draw(0, torch.arange(3)))
        >>> (~mask.keep).sum((1, 2, 3))
        tensor([16, 16, 16])
    """
    if kind not in MASKS:
        raise SpecError(unknown_name("mask", kind, MASKS))
    if not 0 < share < 1:
        raise SpecError(f"share: got {share}, expected a share of the pixels to hide, above 0 and below 1.")
    height, width = shape[1:]
    if kind == "random":
        return Mask(draw.of("mask").uniform((1, height, width)) >= share)
    hide = _half(draw, height, width) if kind == "half" else _rectangle(draw, height, width, share)
    return Mask(~hide[:, None])


def _rectangle(draw: Draw, height: int, width: int, share: float) -> Tensor:
    tall, wide = (max(1, round(side * share**0.5)) for side in (height, width))
    top = draw.of("mask top").integers(height - tall + 1)[:, None]
    left = draw.of("mask left").integers(width - wide + 1)[:, None]
    row, column = (torch.arange(side, device=top.device) for side in (height, width))
    rows, columns = (row >= top) & (row < top + tall), (column >= left) & (column < left + wide)
    hidden: Tensor = rows[:, :, None] & columns[:, None, :]
    return hidden


def _half(draw: Draw, height: int, width: int) -> Tensor:
    row = torch.arange(height, device=draw.ids.device)[:, None].expand(height, width)
    column = torch.arange(width, device=draw.ids.device).expand(height, width)
    halves = torch.stack(
        [column < width // 2, column >= width - width // 2, row < height // 2, row >= height - height // 2]
    )
    return halves[draw.of("mask half").integers(4)]
