"""The nearest images of a data set, exactly, in one pass over it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from tangency.numerics import flat
from tangency.types import LabelledImages

_QUERIES, _IMAGES = 256, 8192  # at once
_SPARE = 8  # images beyond K that single precision puts on the short list
_INDEXED = 200_000  # images above which faiss searches, where it is installed


class Neighbours:
    """Search among images: l2 distance in [0, 1] pixel units, ties by the lower index.

    Single precision about a common centre makes a short list, double precision decides. Above 200,000 images faiss
    (`pip install tangency[faiss]`) makes the short list where it is there; it is exact, too.
    """

    def __init__(self, data: LabelledImages, device: str | torch.device = "cpu") -> None:
        self.data, self.device = data, torch.device(device)
        some = flat(data.images(slice(0, _IMAGES))).double()
        self._centre = some.mean(0)
        self._index = _faiss_index(data, self._centre) if len(data) > _INDEXED else None

    @torch.no_grad()
    def of(self, x: Tensor, count: int) -> Tensor:
        """Places of the `count` nearest images of each x (N, C, H, W), nearest first, (N, count) int64."""
        if not len(x):
            return torch.zeros(0, count, dtype=torch.int64, device=x.device)
        return torch.cat([self._of(part, count) for part in x.split(_QUERIES)])

    def _of(self, x: Tensor, count: int) -> Tensor:
        rows = (flat(x).double() - self._centre.to(x.device)).to(self.device)
        wanted = min(count + _SPARE, len(self.data))
        listed = self._listed(rows.float(), wanted)
        images = flat(self.data.images(listed.flatten().cpu())).to(rows).reshape(*listed.shape, -1)
        distance = (images - self._centre.to(rows) - rows[:, None]).square().sum(2)
        order = distance.argsort(dim=1, stable=True)[:, :count]
        return listed.gather(1, order).to(x.device)

    def _listed(self, rows: Tensor, count: int) -> Tensor:
        """Short lists in the order of the data set."""
        if self._index is not None:
            found = torch.from_numpy(self._index.search(rows.cpu().numpy(), count)[1])
            return found.to(rows.device).sort(1).values
        least = rows.new_full((len(rows), 0), 0.0)
        chosen = torch.zeros(len(rows), 0, dtype=torch.int64, device=rows.device)
        for index in torch.arange(len(self.data)).split(_IMAGES):
            images = flat(self.data.images(index)).to(rows.device) - self._centre.float().to(rows.device)
            square = images.square().sum(1) - 2 * rows @ images.mT  # plus ‖rows‖², the same for all
            least = torch.cat([least, square], 1)
            chosen = torch.cat([chosen, index.to(rows.device).expand(len(rows), -1)], 1)
            place = least.topk(min(count, least.shape[1]), dim=1, largest=False).indices
            least, chosen = least.gather(1, place), chosen.gather(1, place)
        return chosen.sort(1).values


def _faiss_index(data: LabelledImages, centre: Tensor) -> Any | None:
    try:
        faiss = import_module("faiss")
    except ImportError:
        return None
    index = faiss.IndexFlatL2(centre.numel())
    for part in torch.arange(len(data)).split(_IMAGES):
        index.add((flat(data.images(part)).double() - centre).float().numpy())
    return index
