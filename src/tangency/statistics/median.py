"""Medians of resamples, exact, in memory that grows with the square root of the number of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tangency.statistics.resamples import Array, Blocks

# Half-width of the window of ranks that is held at first, in √n: a resample's median leaves it at 8 standard
# deviations, since the draws from the lower half of n images spread by √n/2.
_WINDOW = 4.0


def median(values: Array) -> float:
    """Median of the finite values (N,); NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def medians(blocks: Blocks, columns: Sequence[Array]) -> list[Array]:
    """Median of the finite values of each column (N,) under every weighting of the images, (1 + R,) each.

    Weights are numbers of copies: the result is that of `numpy.median` of each image's value as often as it was drawn,
    NaN where no image with a value was.

    Example:
        >>> from tangency.statistics.resamples import Resamples
        >>> float(medians(Resamples(3, 2, seed=0), [np.array([1.0, 5.0, np.nan])])[0][0])
        3.0
    """
    width = _WINDOW
    made = [np.full(1 + blocks.rows, np.nan) for _ in columns]
    open_columns = list(range(len(columns)))
    while open_columns:
        windows = [_Window(columns[i], width) for i in open_columns]
        for where, weights in blocks.blocks():
            for window in windows:
                window.add(where, weights)
        for i, window in zip(open_columns, windows, strict=True):
            made[i] = window.medians()
        open_columns = [i for i, window in zip(open_columns, windows, strict=True) if window.left]
        width *= 4
    return made


class _Window:
    """The counts of the images whose values have a middle rank, and of those below and of all.

    `left` says whether a median lay outside; then a wider window is needed.
    """

    def __init__(self, values: Array, width: float) -> None:
        finite = np.flatnonzero(np.isfinite(values))
        order = finite[np.argsort(values[finite], kind="stable")]
        n, half = len(order), int(np.ceil(width * np.sqrt(len(order))))
        first, last = max(0, n // 2 - half), min(n, n // 2 + half + 1)
        self.values = values[order[first:last]]
        self.place = np.full(len(values), -2)  # −2: no value, −1: below, n: above the window
        self.place[order] = last - first
        self.place[order[:first]] = -1
        self.place[order[first:last]] = np.arange(last - first)
        self.counts: list[Array] = []
        self.held: list[Array] = []
        self.below: Array | float = 0.0
        self.total: Array | float = 0.0
        self.left = False

    def add(self, where: slice, weights: Array) -> None:
        """Count a block of images, weights (1 + R, n)."""
        place = self.place[where]
        inside = (place >= 0) & (place < len(self.values))
        self.below = self.below + weights[:, place == -1].sum(1)
        self.total = self.total + weights[:, place >= -1].sum(1)
        self.counts.append(weights[:, inside].astype(np.float32))
        self.held.append(place[inside])

    def medians(self) -> Array:
        """Mean of the two middle values of each resample, (1 + R,)."""
        below, total = np.asarray(self.below), np.asarray(self.total)
        if not len(self.values):
            return np.full(len(total), np.nan)
        order = np.argsort(np.concatenate(self.held))
        reached = np.concatenate(self.counts, axis=1)[:, order]
        np.cumsum(reached, axis=1, out=reached)
        middle = np.zeros(len(total))
        for target in ((total - 1) // 2, total // 2):  # places from 0 in the sorted resample
            beyond = target - below
            at = (reached <= beyond[:, None]).sum(1)
            self.left |= bool(((total > 0) & ((beyond < 0) | (at == len(self.values)))).any())
            middle += self.values[np.minimum(at, len(self.values) - 1)] / 2
        return np.where(total > 0, middle, np.nan)
