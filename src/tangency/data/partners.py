"""A partner for each image, random but reproducible: what shuffled controls are made of."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.seeding import Draw, permutation
from tangency.types import LabelledImages

BLOCK = 125  # images whose partners are each other
MEASURED = "measured images"  # the permutation of a pool whose beginning is measured
Places = tuple[Tensor, Tensor]


def measured_order(images: int) -> Tensor:
    """The fixed random order in which the images of a pool are measured: a limit takes the first ones.

    Args:
        images: how many the pool has.

    Returns:
        Their places, (images,).

    Example:
        >>> measured_order(1000)[:3].tolist() == measured_order(1000).tolist()[:3]
        True
    """
    return permutation(images, 0, MEASURED)


class Partners:
    """Which image stands in for which: never itself, and always the same one for the same place in the pool.

    The pool in its measured order is cut into blocks of 125 images (the last one holds up to 249). A partner is of the
    same block wherever that holds one, so that what is computed of the images of a block serves them as partners too;
    else it is of the whole pool.

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
        self.pool, self.seed, self._typical, self._kinds_known = pool, seed, typical, kinds is not None
        self._kinds = torch.arange(len(pool)) if kinds is None else torch.unique(kinds, return_inverse=True)[1].cpu()
        self._sent: dict[tuple[int, torch.device], Tensor] = {}

    @cached_property
    def blocks(self) -> Tensor:
        """The block of each image of the pool, (M,) int64."""
        places = torch.empty(len(self.pool), dtype=torch.int64)
        places[measured_order(len(self.pool))] = torch.arange(len(self.pool))
        return (places // BLOCK).clamp(max=max(0, len(self.pool) // BLOCK - 1))

    def any(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Another image of the pool for each id, (N,), and whether there is one, (N,) bool."""
        last = len(self.pool) - 1
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) > last):
            raise NumericsError(
                f"ids: got {int(ids.min())} to {int(ids.max())}, expected indices of the pool, 0 to {last}."
            )
        everywhere = torch.zeros_like(ids)
        return self._nearest(ids, [(self._near, self._block_of(ids)), (self._places, everywhere)], "partner")

    def of_class(self, ids: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Another image of class y, typical of it, for each id, (N,), and whether there is one, (N,) bool."""
        near = self._block_of(ids) * (len(self.pool.classes) + 1) + y
        partner, usable = self._nearest(ids, [(self._class_near, near), (self._class_places, y)], "class partner")
        return partner, usable & self._on(ids.device, self._several)[y]

    def _block_of(self, ids: Tensor) -> Tensor:
        return self._on(ids.device, self.blocks)[ids]

    def _on(self, device: torch.device, held: Tensor) -> Tensor:
        """A tensor of the pool's size that is held here, on a device, where it is sent once."""
        if held.device != device and (id(held), device) not in self._sent:
            self._sent[id(held), device] = held.to(device)
        return held if held.device == device else self._sent[id(held), device]

    def _nearest(self, ids: Tensor, groups: list[tuple[Places, Tensor]], purpose: str) -> tuple[Tensor, Tensor]:
        """A partner from the first of the groups (places, group of each image) that has one."""
        partner, usable = ids, torch.zeros_like(ids, dtype=torch.bool)
        for places, group in groups:
            drawn, there = self._drawn(places, ids, group, purpose)
            partner = torch.where(usable, partner, drawn)
            usable = usable | there
        return partner, usable

    def _drawn(self, places: Places, ids: Tensor, group: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
        """Uniform over the pool's images of the group whose kind is not that of the image.

        In `places` (order, key) they are sorted by group, then by kind: the draw counts those before and after
        its kind.
        """
        order, key = (self._on(ids.device, t) for t in places)
        kinds = int(self._kinds.max()) + 1
        own = group * kinds + self._on(ids.device, self._kinds)[ids]
        start, stop = (torch.searchsorted(key, edge * kinds) for edge in (group, group + 1))
        first, beyond = torch.searchsorted(key, own), torch.searchsorted(key, own, right=True)
        others = stop - start - (beyond - first)
        chosen = start + Draw(self.seed, ids, purpose).integers(others.clamp(min=1))
        chosen = chosen + (chosen >= first) * (beyond - first)
        usable = others > 0
        return torch.where(usable, order[chosen.clamp(max=len(order) - 1)], ids), usable

    @cached_property
    def _places(self) -> Places:
        return self._sorted(torch.zeros_like(self._kinds))

    @cached_property
    def _near(self) -> Places:
        return self._sorted(self.blocks)

    @cached_property
    def _class_groups(self) -> Tensor:
        """The class that each image may stand in for, (M,); the number of classes where there is none."""
        labels = self.pool.labels.cpu().long()
        return labels if self._typical is None else labels.where(self._typical.cpu(), len(self.pool.classes))

    @cached_property
    def _class_places(self) -> Places:
        return self._sorted(self._class_groups)

    @cached_property
    def _class_near(self) -> Places:
        return self._sorted(self.blocks * (len(self.pool.classes) + 1) + self._class_groups)

    @cached_property
    def _several(self) -> Tensor:
        """Whether each class has partners for all its images, (classes,) bool: more kinds than one, where known."""
        if not self._kinds_known:
            return torch.ones(len(self.pool.classes), dtype=torch.bool)
        _, key = self._class_places
        groups: Tensor = torch.unique(key) // (int(self._kinds.max()) + 1)
        return groups.bincount(minlength=len(self.pool.classes) + 1)[: len(self.pool.classes)] > 1

    def _sorted(self, group: Tensor) -> Places:
        """Pool indices by group, then by kind, and the number of group and kind that each place has."""
        key = group * (int(self._kinds.max()) + 1) + self._kinds
        order = key.argsort(stable=True)
        return order, key[order]
