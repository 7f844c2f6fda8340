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
        kinds: (M,) integers of the pool's images; partners are of another kind than the image. None: each is a kind of
            its own.
        typical: (M,) bool, whether an image may stand in for one of its class; None: all may. A class whose typical
            images are all of one kind has no partners, so that an image of another kind in it does not have one alone.
    """

    def __init__(
        self, pool: LabelledImages, seed: int, kinds: Tensor | None = None, typical: Tensor | None = None
    ) -> None:
        self.pool, self.seed, self._typical, self._told = pool, seed, typical, kinds is not None
        self._kinds = torch.arange(len(pool)) if kinds is None else kinds.cpu().unique(return_inverse=True)[1]

    def any(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Another image of the pool for each id, (N,), and whether there is one, (N,) bool."""
        last = len(self.pool) - 1
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) > last):
            raise NumericsError(
                f"ids: got {int(ids.min())} to {int(ids.max())}, expected indices of the pool, 0 to {last}."
            )
        return self._drawn(self._places, ids, torch.zeros_like(ids), "partner")

    def of_class(self, ids: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Another image of class y, typical of it, for each id, (N,), and whether there is one, (N,) bool."""
        found, usable = self._drawn(self._class_places, ids, y, "class partner")
        return found, usable & self._several.to(ids.device)[y]

    def _drawn(self, places: tuple[Tensor, Tensor], ids: Tensor, group: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
        """Uniform over the pool's images of the group whose kind is not that of the image.

        In `places` (order, key) they stand by group, then by kind: the draw counts those before and behind its kind.
        """
        order, key = (t.to(ids.device) for t in places)
        kinds = int(self._kinds.max()) + 1
        own = group * kinds + self._kinds.to(ids.device)[ids]
        start, stop = (torch.searchsorted(key, edge * kinds) for edge in (group, group + 1))
        first, beyond = torch.searchsorted(key, own), torch.searchsorted(key, own, right=True)
        others = stop - start - (beyond - first)
        chosen = start + Draw(self.seed, ids, purpose).integers(others.clamp(min=1))
        chosen = chosen + (chosen >= first) * (beyond - first)
        usable = others > 0
        return torch.where(usable, order[chosen.clamp(max=len(order) - 1)], ids), usable

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor]:
        return self._sorted(torch.zeros_like(self._kinds))

    @cached_property
    def _class_places(self) -> tuple[Tensor, Tensor]:
        labels = self.pool.labels.cpu().long()
        beyond = len(self.pool.classes)  # a group of which nobody asks a partner
        return self._sorted(labels if self._typical is None else labels.where(self._typical.cpu(), beyond))

    @cached_property
    def _several(self) -> Tensor:
        """Whether each class has partners for all its images, (classes,) bool: more kinds than one, where told."""
        if not self._told:
            return torch.ones(len(self.pool.classes), dtype=torch.bool)
        _, key = self._class_places
        groups = key.unique() // (int(self._kinds.max()) + 1)
        return groups.bincount(minlength=len(self.pool.classes) + 1)[: len(self.pool.classes)] > 1

    def _sorted(self, group: Tensor) -> tuple[Tensor, Tensor]:
        """Pool indices by group, then by kind, and the number of group and kind that each place has."""
        key = group * (int(self._kinds.max()) + 1) + self._kinds
        order = key.argsort(stable=True)
        return order, key[order]
