"""What was computed of images, kept while their block is measured: an image serves others as their partner, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Values = dict[str, Tensor]  # name to (n, …), a row for each image
Make = Callable[[Tensor], Values]


class Held:
    """Rows of tensors by image of a pool, each made once, in a ring of bounded memory.

    Args:
        make: places in the pool (n,) to rows (n, …) by name; the last axis of a name may grow from call to call, and
            is filled up with zeros.
        pool: number of its images.
        rows: that are kept at most.
        most: bytes that are kept at most.
    """

    def __init__(self, make: Make, pool: int, rows: int, most: int = 1 << 28) -> None:
        self._make, self._rows, self._most = make, rows, most
        self._place = torch.full((pool,), -1, dtype=torch.int64)  # row of each image, −1 for none
        self._owner = torch.full((0,), -1, dtype=torch.int64)  # image of each row
        self._values: Values = {}
        self._next = 0

    def at(self, ids: Tensor) -> Values:
        """The rows of images (n,), on their device."""
        wanted, where = torch.unique(ids.cpu(), return_inverse=True)
        place = self._place[wanted]
        known, missing = wanted[place >= 0], wanted[place < 0]
        parts = [self._read(place[place >= 0])] if len(known) else []
        if len(missing):
            parts.append(self._make(missing.to(ids.device)))
            self._keep(missing, parts[-1])
        order = torch.cat([known, missing]).argsort()[where].to(ids.device)
        return {name: rows[order] for name, rows in joined(parts).items()}

    def put(self, ids: Tensor, values: Values) -> None:
        """Keep rows that were made elsewhere, of distinct images (n,)."""
        new = self._place[ids.cpu()] < 0
        if bool(new.any()):
            chosen = new.to(ids.device)
            self._keep(ids.cpu()[new], {name: rows[chosen] for name, rows in values.items()})

    def holds(self, ids: Tensor) -> Tensor:
        """Whether the row of each image is kept, (n,) bool."""
        return (self._place[ids.cpu()] >= 0).to(ids.device)

    def _read(self, rows: Tensor) -> Values:
        here = {device: rows.to(device) for device in {held.device for held in self._values.values()}}
        return {name: held[here[held.device]] for name, held in self._values.items()}

    def _keep(self, ids: Tensor, values: Values) -> None:
        if not self._values:
            size = sum(rows[:1].nbytes for rows in values.values())
            capacity = min(self._rows, self._most // max(1, size))
            self._owner = torch.full((capacity,), -1, dtype=torch.int64)
            self._values = {name: rows.new_zeros((capacity, *rows.shape[1:])) for name, rows in values.items()}
        capacity = len(self._owner)
        count = min(len(ids), capacity)
        if not count:
            return
        rows = (self._next + torch.arange(count)) % capacity
        gone = self._owner[rows]
        self._place[gone[gone >= 0]] = -1
        self._owner[rows], self._place[ids[:count]] = ids[:count], rows
        self._next = (self._next + count) % capacity
        for name, new in values.items():
            held, width = self._values[name], new.shape[-1] if new.dim() > 1 else 0
            if width > held.shape[-1] and new.dim() > 1:
                held = self._values[name] = F.pad(held, (0, width - held.shape[-1]))
            held[rows.to(held.device)] = _filled(new[:count], held.shape[-1])


def joined(parts: Sequence[Values]) -> Values:
    """Rows one behind the other, the last axes filled up with zeros to the widest."""
    if len(parts) == 1:
        return dict(parts[0])
    wide = {name: max(part[name].shape[-1] for part in parts) for name in parts[0]}
    return {name: torch.cat([_filled(part[name], wide[name]) for part in parts]) for name in parts[0]}


def _filled(rows: Tensor, width: int) -> Tensor:
    return rows if rows.dim() < 2 or rows.shape[-1] == width else F.pad(rows, (0, width - rows.shape[-1]))
