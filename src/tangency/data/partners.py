"""Another image for each image, at random but always the same: what shuffled controls are made of."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.seeding import Draw
from tangency.types import LabelledImages


class Partners:
    """Who stands in for whom: an image is never its own partner, and which one it gets follows from its place alone.

    Args:
        pool: images that are drawn from.
        seed: of the draw.
    """

    def __init__(self, pool: LabelledImages, seed: int) -> None:
        self.pool, self.seed = pool, seed

    def any(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Another image of the pool for each id, (N,), and whether there is one, (N,) bool."""
        others = len(self.pool) - 1
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) > others):
            raise NumericsError(
                f"ids: got {int(ids.min())} to {int(ids.max())}, expected indices of the pool, 0 to {others}."
            )
        chosen = Draw(self.seed, ids, "partner").integers(max(others, 1))
        usable = torch.full_like(ids, others > 0, dtype=torch.bool)
        return torch.where(usable, chosen + (chosen >= ids), ids), usable

    def of_class(self, ids: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Another image of class y for each id, (N,), and whether there is one, (N,) bool."""
        order, start, place = (t.to(ids.device) for t in self._class_order)
        true = self.pool.labels.to(ids.device)[ids]
        others = self.pool.class_counts.to(ids.device)[y] - (true == y).long()
        chosen = Draw(self.seed, ids, "class partner").integers(others.clamp(min=1))
        chosen = chosen + ((true == y) & (chosen >= place[ids])).long()
        usable = others > 0
        return torch.where(usable, order[(start[y] + chosen).clamp(max=len(order) - 1)], ids), usable

    @cached_property
    def _class_order(self) -> tuple[Tensor, Tensor, Tensor]:
        """Pool indices sorted by class, where each class starts, and each image's place within its class."""
        order = self.pool.labels.argsort(stable=True)
        start = self.pool.class_counts.cumsum(0) - self.pool.class_counts
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order)) - start[self.pool.labels[order]]
        return order, start, place
