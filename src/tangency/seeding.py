"""Counter-based random numbers: one stream per image, so a draw never depends on batch, order or device.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), vectorised in integer
tensor arithmetic. A draw is a pure function of (seed, stream, image id, position): there is no state to save,
so resuming is exact, and every model of a study sees the same directions (common random numbers).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any printable parts; the same in every process and on every platform."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _multiply(a: int, b: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a·b, for b in [0, 2³²) held in int64 (split, as int64 would overflow)."""
    low_part = a * (b & 0xFFFF)
    mid = a * (b >> 16) + (low_part >> 16)
    return mid >> 16, ((mid & 0xFFFF) << 16) | (low_part & 0xFFFF)


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10: four 32-bit words (in int64) for each counter.

    Args:
        counter: four broadcastable int64 tensors, values in [0, 2³²).
        key: two integers in [0, 2³²).

    Returns:
        Four int64 tensors of the broadcast shape, values in [0, 2³²).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Draw:
    """Random numbers for the images `ids`: a pure function of (seed, purpose, id, position).

    Args:
        seed: any integer; the seed of the trial or study.
        ids: (N,) int64, the identity of each image (its index in the data set), on the device of the draws.
        purpose: what the numbers are for ("attack epoch 3"); different purposes are independent streams.

    Example:
        >>> one = Draw(0, torch.tensor([17])).normal((2,))
        >>> many = Draw(0, torch.arange(40)).normal((2,))
        >>> torch.equal(one[0], many[17])
        True
    """

    seed: int
    ids: Tensor
    purpose: str = ""

    def of(self, *purpose: object) -> Draw:
        """The same images with another, independent stream."""
        return Draw(self.seed, self.ids, "/".join([self.purpose, *map(str, purpose)]))

    def _words(self, count: int) -> Tensor:
        """(N, 4, count) words in [0, 2³²)."""
        key = derive_seed(self.seed, self.purpose)
        ids = self.ids.to(torch.int64)[:, None]
        position = torch.arange(count, device=ids.device)[None, :]
        zero = torch.zeros_like(position)
        counter = (position, zero, ids & _MASK, (ids >> 32) & _MASK)
        return torch.stack(philox(counter, (key & _MASK, (key >> 32) & _MASK)), 1)

    def uniform(self, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform numbers in (0, 1), shape (N, *shape)."""
        size = math.prod(shape)
        words = self._words(-(-size // 4)).transpose(1, 2).flatten(1)[:, :size]
        values = ((words.to(torch.float64) + 0.5) / 2**32).to(dtype)
        return values.clamp(max=1 - torch.finfo(dtype).eps / 2).reshape(-1, *shape)  # float32 rounds 1 − 2⁻³³ to 1

    def normal(self, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers by Box and Muller, shape (N, *shape)."""
        size = math.prod(shape)
        words = (self._words(-(-size // 4)).to(torch.float64) + 0.5) / 2**32
        radius = (-2 * words[:, :2].log()).sqrt()
        angle = 2 * math.pi * words[:, 2:]
        values = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
        flat = values.transpose(1, 2).flatten(1)[:, :size]
        return flat.to(dtype).reshape(-1, *shape)

    def integers(self, high: Tensor | int) -> Tensor:
        """One integer an image, uniform on {0, …, high − 1}, shape (N,); `high` may be one per image."""
        bound = torch.as_tensor(high, device=self.ids.device)
        return (self.uniform((), torch.float64) * bound).to(torch.int64).clamp(max=bound - 1)


def permutation(n: int, seed: int, *purpose: object) -> Tensor:
    """A permutation of 0 … n−1, shape (n,) int64 on the CPU: the order of an epoch."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "permutation", *purpose))
    return torch.randperm(n, generator=generator)
