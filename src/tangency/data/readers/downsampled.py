"""Downsampled ImageNet (64, 32, 16 or 8 pixels) as published: pickled batches, never executed, or their .npz form."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from tangency.data.build import Source, labelled
from tangency.data.readers.batches import BatchLayout
from tangency.data.splits import kept_of
from tangency.errors import DataError
from tangency.formats.arrays import read_arrays
from tangency.formats.opening import existing_file
from tangency.formats.unpickle import read_pickle
from tangency.references import Reference
from tangency.types import LabelledImages

SIZES = (64, 32, 16, 8)
_TRAIN = tuple(f"train_data_batch_{number}" for number in range(1, 11))
_FILES = {"train": _TRAIN, "test": ("val_data",)}
_CLASSES = 1000
_MAP = "map_clsloc.txt"
_SORTED = "synsets"  # classes in the order of torchvision's networks
_NAME = "a batch of downsampled ImageNet"


def _read_batch(path: Path, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 3, side, side) uint8 and labels (N,) int64 from 0 of one batch; its mean image is left alone."""
    layout = BatchLayout(_NAME, side, _CLASSES, lowest=1, hints={size: f"imagenet{size}:DIR" for size in SIZES})
    if path.suffix == ".npz":
        return layout.check(read_arrays(path, layout.expected, ("data", "labels")), path)
    return layout.check(read_pickle(path, expected=layout.expected), path)


def _classes(folder: Path) -> tuple[tuple[str, ...], list[str]]:
    """Synsets where map_clsloc.txt lies beside the batches; else names that no order of a network can be taken for."""
    path = folder / _MAP
    if not path.is_file():
        return tuple(f"clsloc {number}" for number in range(1, _CLASSES + 1)), [
            f"labels 1 to {_CLASSES} are in the order of the publishers' {_MAP}, which is not the order of the outputs "
            f"of torchvision's networks; put that file into '{folder}', and the classes have the names of their synsets"
        ]
    lines = (line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    synsets = {int(line[1]): line[0] for line in lines if len(line) >= 2 and line[1].isdecimal()}
    if sorted(synsets) != list(range(1, _CLASSES + 1)):
        raise DataError(f"{path}: {len(synsets)} classes, expected {_CLASSES} lines such as 'n02119789 1 kit_fox'.")
    return tuple(synsets[number] for number in sorted(synsets)), []


def _file(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.npz"
    return packed if packed.is_file() else existing_file(folder / name, _NAME)


def _read(reference: Reference, folder: Path, split: str, side: int) -> LabelledImages:
    """One split; with `train=N` or `test=N` two passes over the files, so that only N images are ever held."""
    classes, notes = _classes(folder)
    paths = [_file(folder, name) for name in _FILES[split]]
    kept = None
    if reference.integer(split) is not None:
        count = sum(len(_read_batch(path, side)[1]) for path in paths)
        kept = torch.tensor(sorted(kept_of(count, reference.integer(split), reference.text, split)))
    pixels, labels, start = [], [], 0
    for path in paths:
        images, targets = _read_batch(path, side)
        if kept is not None:
            here = (kept[(kept >= start) & (kept < start + len(targets))] - start).numpy()
            start += len(targets)
            images, targets = images[here], targets[here]
        pixels.append(images)
        labels.append(targets)
    held = torch.empty(sum(map(len, labels)), 3, side, side, dtype=torch.uint8)
    for part in torch.split(held, [len(one) for one in labels]):
        part.copy_(torch.from_numpy(np.array(pixels.pop(0))))
    name = f"{reference.text} {split}"
    given = torch.from_numpy(np.concatenate(labels))
    if reference.options.get("order") is None:
        return labelled(held, given, classes, name, notes)
    ordered = tuple(sorted(classes))
    places = {synset: place for place, synset in enumerate(ordered)}
    return labelled(held, torch.tensor([places[synset] for synset in classes])[given], ordered, name, notes)


def open_downsampled(reference: Reference, root: Path | None) -> Source:
    """A folder with train_data_batch_1 … 10 and val_data, as the ten pickles or the ten .npz files."""
    folder, side = reference.path(root), int(reference.kind.removeprefix("imagenet"))
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected one with train_data_batch_1 to 10 and val_data.")
    order = reference.options.get("order")
    if order not in (None, _SORTED) or (order and not (folder / _MAP).is_file()):
        raise DataError(
            f"{reference.text}: got order={order}, expected order={_SORTED}, with {_MAP} beside the batches in "
            f"'{folder}', which says which synset a label is."
        )
    return Source(
        reference.text, {split: partial(_read, reference, folder, split, side) for split in _FILES}, counted=True
    )
