"""The nearest images of a data set, exactly, in one pass over it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from tangency.devices import chunk_bytes
from tangency.numerics import flat
from tangency.types import LabelledImages

_QUERIES, SEARCHED_AT_ONCE = 256, 4096  # images that are looked for, and looked at, at once
_SPARE = 8  # images beyond K on the short list
_GRAIN = 1e-13  # of the squares of both norms: rounding of a distance
_INDEXED = 200_000  # images above which faiss searches, where it is installed


class Neighbours:
    """Search among images: l2 distance in [0, 1] pixel units, equal distances in the order of the data set.

    Double precision about a common centre makes a short list, differences decide. Above 200,000 images faiss
    (`pip install tangency[faiss]`) makes the short list where it is there, in single precision.
    """

    def __init__(self, data: LabelledImages, device: str | torch.device = "cpu") -> None:
        self.data, self.device = data, torch.device(device)
        self._centre = flat(data.images(slice(0, SEARCHED_AT_ONCE))).double().mean(0)
        self._index = _faiss_index(data, self._centre) if len(data) > _INDEXED else None

    @torch.no_grad()
    def of(self, x: Tensor, count: int) -> Tensor:
        """Places of the `count` nearest images of each x (N, C, H, W), nearest first, (N, count) int64."""
        if not len(x):
            return torch.zeros(0, count, dtype=torch.int64, device=x.device)
        each = 3 * 8 * (count + _SPARE) * x[0].numel()
        size = max(1, min(_QUERIES, 4 * chunk_bytes(self.device) // each))
        return torch.cat([self._of(part, count) for part in torch.split(x, size)])

    def _of(self, x: Tensor, count: int) -> Tensor:
        rows = (flat(x).double() - self._centre.to(x.device)).to(self.device)
        listed = self._listed(rows, min(count + _SPARE, len(self.data)))
        images = flat(self.data.images(listed.flatten().cpu())).to(rows).reshape(*listed.shape, -1)
        distance = (images - self._centre.to(rows) - rows[:, None]).square().sum(2)
        order = distance.argsort(dim=1, stable=True)[:, :count]
        return listed.gather(1, order).to(x.device)

    def _listed(self, rows: Tensor, count: int) -> Tensor:
        """Short lists in the order of the data set."""
        if self._index is not None:
            places = torch.from_numpy(self._index.search(rows.float().cpu().numpy(), count)[1])
            return places.to(rows.device).sort(1).values
        own = rows.square().sum(1, keepdim=True)
        least = rows.new_zeros(len(rows), 0)
        chosen = torch.zeros(len(rows), 0, dtype=torch.int64, device=rows.device)
        for index in torch.split(torch.arange(len(self.data)), SEARCHED_AT_ONCE):
            images = flat(self.data.images(index)).to(rows) - self._centre.to(rows)
            norms = images.square().sum(1)
            square = norms + own - 2 * rows @ images.mT
            grain = _GRAIN * (norms.max() + own)  # what differs by less is a tie, and stays in order
            least = torch.cat([least, (square / grain).round() * grain], 1)
            chosen = torch.cat([chosen, index.to(rows.device).expand(len(rows), -1)], 1)
            place = least.argsort(dim=1, stable=True)[:, :count].sort(1).values
            least, chosen = least.gather(1, place), chosen.gather(1, place)
        return chosen


def _faiss_index(data: LabelledImages, centre: Tensor) -> Any | None:
    try:
        faiss = import_module("faiss")
    except ImportError:
        return None
    index = faiss.IndexFlatL2(centre.numel())
    for part in torch.split(torch.arange(len(data)), SEARCHED_AT_ONCE):
        index.add((flat(data.images(part)).double() - centre).float().numpy())
    return index
