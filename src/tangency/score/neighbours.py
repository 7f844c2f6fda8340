"""The nearest training image of each picture: has a score learnt its images by heart?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.numerics import flat
from tangency.types import LabelledImages

_QUERIES, _IMAGES = 256, 4096  # at once


@dataclass(frozen=True)
class Nearest:
    """l2 distance to the nearest image, (N,) in [0, 1] pixel units, and its index, (N,)."""

    distance: Tensor
    index: Tensor


@torch.no_grad()
def nearest(pictures: Tensor, data: LabelledImages) -> Nearest:
    """Exact search over all images of `data`, in parts, for pictures (N, C, H, W)."""
    found = [_nearest(flat(part).float(), data) for part in pictures.split(_QUERIES)]
    index = torch.cat(found)
    distance = torch.cat(
        [
            (flat(part).double() - flat(data.images(chosen)).double()).norm(dim=1)
            for part, chosen in zip(pictures.split(_QUERIES), index.split(_QUERIES), strict=True)
        ]
    )
    return Nearest(distance, index)


def _nearest(rows: Tensor, data: LabelledImages) -> Tensor:
    least, chosen = rows.new_full((len(rows),), torch.inf), torch.zeros(len(rows), dtype=torch.int64)
    for index in torch.arange(len(data)).split(_IMAGES):
        images = flat(data.images(index))
        square = images.square().sum(1) - 2 * rows @ images.mT  # plus ‖rows‖², the same for all
        value, place = square.min(1)
        chosen = torch.where(value < least, index[place], chosen)
        least = torch.minimum(value, least)
    return chosen
