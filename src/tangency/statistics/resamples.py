"""How often each image occurs in each resample, computed in blocks, so that memory does not grow with the images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tangency.errors import NumericsError

Array = NDArray[np.float64]
Parts = Callable[[slice], Array]

KEPT = 128 * 2**20  # bytes of random numbers that are kept for the next call
_AT_ONCE = 250  # resamples whose images are drawn at once


class Blocks(ABC):
    """Random weights of images, (1 + R, N), recomputed in blocks whenever they are needed.

    The first row is ones: the images themselves. The content of a block depends on (seed, number of the block) alone.

    Args:
        images: N.
        rows: R.
        kept: bytes up to which the weights are kept; it changes time and memory, not results.
    """

    block: ClassVar[int] = (
        1024  # images whose random numbers are drawn together; changing it changes the draws of a seed
    )

    def __init__(self, images: int, rows: int, kept: int = KEPT) -> None:
        self.images, self.rows = images, rows
        self._keep = 8 * images * (rows + 1) <= kept
        self._blocks: dict[int, Array] = {}

    @abstractmethod
    def make(self, number: int, size: int) -> Array:
        """Weights of one block, (R, size)."""

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Each block of images with its weights, (1 + R, n)."""
        for number, start in enumerate(range(0, self.images, self.block)):
            stop = min(start + self.block, self.images)
            weights = self._blocks.get(number)
            if weights is None:
                weights = np.empty((1 + self.rows, stop - start))
                weights[0] = 1
                weights[1:] = self.make(number, stop - start)
                if self._keep:
                    self._blocks[number] = weights
            yield slice(start, stop), weights

    def accumulate(self, parts: Parts) -> Array:
        """Weighted sums over the images, where `parts` gives the finite values (..., n) of a block: (..., 1 + R)."""
        total: Array | None = None
        for where, weights in self.blocks():
            sums = parts(where) @ weights.T
            total = sums if total is None else total + sums
        if total is None:
            raise NumericsError("sums: got no images, expected at least 1.")
        return total


class Resamples(Blocks):
    """Multinomial counts of N images drawn N times with replacement.

    The number of draws in each block is multinomial, and so is their split within it, so every row sums to N exactly.
    With a single block it is numpy's own multinomial.
    """

    def __init__(self, images: int, replicates: int, seed: int, kept: int = KEPT) -> None:
        super().__init__(images, replicates, kept)
        self.seed = seed
        sizes = np.diff(np.append(np.arange(0, images, self.block), images))
        self._draws = np.random.default_rng(seed).multinomial(images, sizes / images, size=replicates)

    def make(self, number: int, size: int) -> Array:
        """Counts of one block, (R, size)."""
        if size == self.images:
            rng = np.random.default_rng(self.seed)
            return rng.multinomial(size, np.full(size, 1 / size), size=self.rows).astype(float)
        rng = np.random.default_rng([self.seed, number])
        counts = np.empty((self.rows, size))
        for start in range(0, self.rows, _AT_ONCE):
            draws = self._draws[start : start + _AT_ONCE, number]
            image = rng.integers(size, size=int(draws.sum()))
            image += np.repeat(size * np.arange(len(draws)), draws)
            counts[start : start + len(draws)] = np.bincount(image, minlength=size * len(draws)).reshape(-1, size)
        return counts


class SignFlips(Blocks):
    """Independent signs of N images, P times: which of a pair is called A under the null of no difference.

    Args:
        images: how many there are, N ≥ 1.
        permutations: P.
        seed: of the signs.

    Example:
        >>> flips = SignFlips(100, permutations=999)
        >>> sums = flips.accumulate(lambda where: np.ones(100)[where])
        >>> sums.shape, float(sums[0]), bool((sums[1:] < 60).all())
        ((1000,), 100.0, True)
    """

    block = 256  # four times as many permutations as resamples

    def __init__(self, images: int, permutations: int = 9999, seed: int = 0, kept: int = KEPT) -> None:
        if images < 1 or permutations < 1:
            raise NumericsError(
                f"permutation test: got {images} images and {permutations} permutations, expected at least 1 of each."
            )
        super().__init__(images, permutations, kept)
        self.seed = seed

    def make(self, number: int, size: int) -> Array:
        """Signs of one block, (P, size)."""
        rng = np.random.default_rng([self.seed, number])
        wide = -(-size // 8)
        bits = np.frombuffer(rng.bytes(self.rows * wide), np.uint8).reshape(self.rows, wide)
        signs = np.unpackbits(bits, axis=1, count=size).astype(float)
        signs *= 2
        signs -= 1
        return signs
