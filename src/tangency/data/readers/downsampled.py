"""Downsampled ImageNet (64, 32, 16 or 8 pixels) as published: pickled batches, never executed, or their .npz form."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from tangency.data.build import Source, labelled
from tangency.errors import DataError
from tangency.formats.arrays import read_arrays
from tangency.formats.opening import existing_file
from tangency.formats.unpickle import read_pickle
from tangency.references import Reference
from tangency.seeding import permutation
from tangency.types import LabelledImages

SIZES = (64, 32, 16, 8)
_TRAIN = tuple(f"train_data_batch_{number}" for number in range(1, 11))
_FILES = {"train": _TRAIN, "test": ("val_data",)}
_CLASSES = 1000
_MAP = "map_clsloc.txt"
_EXPECTED = "a batch of downsampled ImageNet: 'data', uint8 of shape (N, 3·side·side), and 'labels' from 1 to 1000"


def read_batch(path: Path, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 3, side, side) uint8 and labels (N,) int64 from 0 of one batch; its mean image is left alone.

    Raises:
        DataError: not a pickle or archive of plain arrays, or not such a batch.
    """
    if path.suffix == ".npz":
        content: object = read_arrays(path, _EXPECTED, ("data", "labels"))
    else:
        content = read_pickle(path, expected=_EXPECTED)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected {_EXPECTED}.")
    data, given = (content.get(key, content.get(key.encode())) for key in ("data", "labels"))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        got = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{path}: 'data' is {got}, expected {_EXPECTED}.")
    if data.shape[1] != 3 * side**2:
        fits = [size for size in SIZES if data.shape[1] == 3 * size**2]
        hint = f"these are of {fits[0]}: name it imagenet{fits[0]}:DIR." if fits else f"expected {_EXPECTED}."
        raise DataError(f"{path}: {data.shape[1]} values an image, images of {side} pixels have {3 * side**2}; {hint}")
    try:
        labels = np.asarray(given)
    except ValueError:
        labels = np.empty(0, object)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(data):
        raise DataError(f"{path}: 'labels' are not {len(data)} whole numbers, expected {_EXPECTED}.")
    if len(labels) and not 1 <= labels.min() <= labels.max() <= _CLASSES:
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}, expected 1 to {_CLASSES}.")
    return data.reshape(-1, 3, side, side), labels.astype(np.int64) - 1


def _classes(folder: Path) -> tuple[tuple[str, ...], list[str]]:
    """Synsets where map_clsloc.txt lies beside the batches; else names that no order of a network can be taken for."""
    path = folder / _MAP
    if not path.is_file():
        return tuple(f"clsloc {number}" for number in range(1, _CLASSES + 1)), [
            f"labels 1 to {_CLASSES} are in the order of the publishers' {_MAP}, which is not the order of the outputs "
            f"of torchvision's networks; put that file into '{folder}', and the classes have the names of their synsets"
        ]
    found: dict[int, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split()
        if len(parts) >= 2 and parts[1].isdecimal():
            found[int(parts[1])] = parts[0]
    if sorted(found) != list(range(1, _CLASSES + 1)):
        raise DataError(f"{path}: {len(found)} classes, expected {_CLASSES} lines such as 'n02119789 1 kit_fox'.")
    return tuple(found[number] for number in sorted(found)), []


def _file(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.npz"
    return packed if packed.is_file() else existing_file(folder / name, _EXPECTED)


def _read(reference: Reference, folder: Path, split: str, side: int) -> LabelledImages:
    """One split; with `train=N` or `test=N` two passes over the files, so that only N images are ever held."""
    classes, notes = _classes(folder)
    paths = [_file(folder, name) for name in _FILES[split]]
    kept = reference.integer(split)
    chosen = None
    if kept is not None:
        counts = [len(read_batch(path, side)[1]) for path in paths]
        if kept > sum(counts):
            raise DataError(f"{reference.text}: {split}={kept}, there are {sum(counts)} images.")
        chosen = permutation(sum(counts), 0, "training images" if split == "train" else "test images")[:kept]
        chosen = chosen.sort().values
    pixels, labels, start = [], [], 0
    for path in paths:
        images, targets = read_batch(path, side)
        if chosen is not None:
            here = (chosen[(chosen >= start) & (chosen < start + len(targets))] - start).numpy()
            start += len(targets)
            images, targets = images[here], targets[here]
        pixels.append(images)
        labels.append(targets)
    held = torch.empty(sum(map(len, labels)), 3, side, side, dtype=torch.uint8)
    for part in torch.split(held, [len(one) for one in labels]):
        part.copy_(torch.from_numpy(np.array(pixels.pop(0))))
    name = f"{reference.text} {split}"
    return labelled(held, torch.from_numpy(np.concatenate(labels)), classes, name, notes)


def open_downsampled(reference: Reference, root: Path | None) -> Source:
    """A folder with train_data_batch_1 … 10 and val_data, as the ten pickles or the ten .npz files."""
    folder, side = reference.path(root), int(reference.kind.removeprefix("imagenet"))
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected one with train_data_batch_1 to 10 and val_data.")
    return Source(
        reference.text, {split: partial(_read, reference, folder, split, side) for split in _FILES}, counted=True
    )
