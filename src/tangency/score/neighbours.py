"""The nearest training image of each picture: has a score learnt its images by heart?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.numerics import flat
from tangency.types import LabelledImages

_QUERIES, _IMAGES, _LISTED = 256, 4096, 4  # pictures and images at once; images of a short list


@dataclass(frozen=True)
class Nearest:
    """l2 distance to the nearest image, (N,) in [0, 1] pixel units, and its index, (N,)."""

    distance: Tensor
    index: Tensor


@torch.no_grad()
def nearest(pictures: Tensor, data: LabelledImages) -> Nearest:
    """Exact search over all images of `data`, in parts, for pictures (N, C, H, W).

    Single precision makes a short list about a common centre, differences in double precision decide.
    """
    centre = flat(pictures[:_QUERIES]).double().mean(0)
    found = [_nearest(flat(part).double() - centre, centre, data) for part in pictures.split(_QUERIES)]
    return Nearest(*(torch.cat(values) for values in zip(*found, strict=True)))


def _nearest(rows: Tensor, centre: Tensor, data: LabelledImages) -> tuple[Tensor, Tensor]:
    least = rows.new_full((len(rows),), torch.inf)
    chosen = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    for index in torch.arange(len(data)).split(_IMAGES):
        images = flat(data.images(index)).to(rows.device).double() - centre
        narrow = images.float()
        square = narrow.square().sum(1) - 2 * rows.float() @ narrow.mT  # plus ‖rows‖², the same for all
        listed = square.topk(min(_LISTED, len(images)), dim=1, largest=False).indices
        distance, place = (images[listed] - rows[:, None]).norm(dim=2).min(1)
        nearer = distance < least
        chosen = torch.where(nearer, index.to(rows.device)[listed.gather(1, place[:, None])[:, 0]], chosen)
        least = torch.where(nearer, distance, least)
    return least, chosen
