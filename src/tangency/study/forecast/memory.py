"""The most memory that something takes."""

from __future__ import annotations

import threading

import psutil
import torch

_BETWEEN = 0.02  # seconds between two looks


class PeakMemory:
    """Peak of this process's memory, or of its share of an accelerator, while it is entered; a context manager.

    Args:
        device: where is computed; of an accelerator its own memory counts.
    """

    def __init__(self, device: str) -> None:
        self._device, self._before, self._peak = torch.device(device), 0, 0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._before = self._peak = psutil.Process().memory_info().rss
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self._peak = torch.cuda.max_memory_allocated(self._device)
        else:
            self._ended.set()
            self._watcher.join()

    @property
    def bytes(self) -> int:
        """The peak, once it is left."""
        return self._peak

    def scaled(self, factor: float) -> int:
        """The peak if what was taken while it was entered were so many times as much."""
        return round(self._before + factor * max(self._peak - self._before, 0))

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._ended.wait(_BETWEEN):
            self._peak = max(self._peak, process.memory_info().rss)
