"""The nearest training image of each picture: has a score learnt its images by heart?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.data.search import Neighbours
from tangency.numerics import flat
from tangency.types import LabelledImages


@dataclass(frozen=True)
class Nearest:
    """l2 distance to the nearest image, (N,) in [0, 1] pixel units, and its index, (N,)."""

    distance: Tensor
    index: Tensor


@torch.no_grad()
def nearest(pictures: Tensor, data: LabelledImages) -> Nearest:
    """Exact search over all images of `data` for pictures (N, C, H, W)."""
    index = Neighbours(data, pictures.device).of(pictures, 1)[:, 0]
    found = flat(data.images(index.cpu())).to(pictures.device).double()
    return Nearest((found - flat(pictures).double()).norm(dim=1), index)
