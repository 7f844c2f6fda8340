"""Pickled batches, as CIFAR-10 and downsampled ImageNet are published: checked, never executed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tangency.errors import DataError


@dataclass(frozen=True)
class BatchLayout:
    """What a batch must hold: 'data', uint8 (N, 3 · side²), and 'labels', N whole numbers.

    Args:
        name: what such a batch is called.
        side: pixels.
        classes: how many.
        lowest: label of the first class.
        hints: sides of related sets to what such a set is called.
    """

    name: str
    side: int
    classes: int
    lowest: int = 0
    hints: dict[int, str] | None = None

    @property
    def expected(self) -> str:
        """In words."""
        return f"{self.name}: a dict with 'data', uint8 of shape (N, {3 * self.side**2}), and 'labels' {self.labels}"

    @property
    def labels(self) -> str:
        """The range of the labels, in words."""
        return f"{self.lowest} to {self.lowest + self.classes - 1}"

    def check(self, content: object, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (N, 3, side, side) uint8 and labels (N,) int64 from 0.

        Raises:
            DataError: not such a batch.
        """
        if not isinstance(content, dict):
            raise DataError(f"{path}: holds a {type(content).__name__}, expected {self.expected}.")
        # Python 2 wrote the keys as bytes, Python 3 writes them as text.
        data, given = (content.get(key, content.get(key.encode())) for key in ("data", "labels"))
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
            got = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
            raise DataError(f"{path}: 'data' is {got}, expected {self.expected}.")
        size = 3 * self.side**2
        if data.shape[1] != size:
            fits = [name for side, name in (self.hints or {}).items() if data.shape[1] == 3 * side**2]
            hint = f"these are of {fits[0]}" if fits else f"expected {self.expected}"
            got = f"{data.shape[1]} values an image, images of {self.side} pixels have {size}"
            raise DataError(f"{path}: {got}; {hint}.")
        try:
            labels = np.asarray(given)
        except ValueError:
            labels = np.empty(0, object)
        if labels.ndim != 1 or len(labels) != len(data) or (len(labels) and labels.dtype.kind not in "iu"):
            raise DataError(f"{path}: 'labels' are not {len(data)} whole numbers, expected {self.expected}.")
        if len(labels) and not self.lowest <= labels.min() <= labels.max() < self.lowest + self.classes:
            raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}, expected {self.labels}.")
        return data.reshape(-1, 3, self.side, self.side), labels.astype(np.int64) - self.lowest
