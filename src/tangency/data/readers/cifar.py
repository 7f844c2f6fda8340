"""CIFAR-10: Parquet files in Hugging Face's layout, or the original Python batches, never executed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from tangency.data.build import Source, labelled
from tangency.data.classes import CIFAR10
from tangency.data.readers import published
from tangency.data.readers.batches import BatchLayout
from tangency.data.readers.parquet import read_parquet
from tangency.data.readers.published import candidates, not_found
from tangency.errors import DataError, listed
from tangency.formats.unpickle import read_pickle
from tangency.references import Reference
from tangency.types import LabelledImages

_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_LAYOUT = BatchLayout("a CIFAR-10 batch", 32, len(CIFAR10))


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 3, 32, 32) uint8 and labels (N,) int64 of one original batch.

    Raises:
        DataError: not a pickle, a pickle of more than plain data, or not a CIFAR-10 batch.
    """
    return _LAYOUT.check(read_pickle(path), path)


def _check_names(folder: Path) -> None:
    """Raise where batches.meta, beside the batches, names other classes than CIFAR-10's."""
    path = folder / "batches.meta"
    if not path.is_file():
        return
    content = read_pickle(path)
    names = content.get(b"label_names", content.get("label_names")) if isinstance(content, dict) else None
    if not isinstance(names, list):
        return
    own = tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)
    if own != CIFAR10:
        raise DataError(
            f"{path}: names the classes {listed(own)}, expected those of CIFAR-10 ({listed(CIFAR10)}): other data "
            "under its file names. Save them as .npz with the array 'classes'."
        )


def _read_batches(folder: Path, split: str) -> LabelledImages:
    _check_names(folder)
    batches = [read_batch(folder / name) for name in _BATCHES[split]]
    pixels, labels = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*batches, strict=True))
    own = all(published.of_file(folder / name) == "cifar10" for name in _BATCHES[split])
    note = f"{folder}: the batches of {split} are not the published ones of cifar10; their labels are taken for its own"
    return labelled(pixels, labels, CIFAR10, f"cifar10 {split}", [] if own else [note])


def _read_parquet(folder: Path, split: str) -> LabelledImages:
    path = folder / f"cifar10-{split}.parquet"
    whole = read_parquet([path], Reference(f"cifar10 {split}", "cifar10"), CIFAR10)
    if whole.shape != (3, 32, 32):
        raise DataError(f"{path}: images of shape {whole.shape}, expected (3, 32, 32).")
    return whole


def open_cifar10(reference: Reference, root: Path | None) -> Source:
    """Find CIFAR-10: cifar10-train.parquet and cifar10-test.parquet, or data_batch_1 … 5 and test_batch."""
    places = candidates(reference, root, (".", "cifar10", "cifar-10-batches-py"))
    readers = {
        _read_parquet: [f"cifar10-{split}.parquet" for split in _BATCHES],
        _read_batches: [name for names in _BATCHES.values() for name in names],
    }
    for folder in places:
        for read, names in readers.items():
            if any((folder / name).is_file() for name in names):
                return Source("cifar10", {split: partial(read, folder, split) for split in _BATCHES})
    files = "cifar10-train.parquet, cifar10-test.parquet, or data_batch_1 to 5"
    raise not_found("cifar10", places, files, "CIFAR10")
