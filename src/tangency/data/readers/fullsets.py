"""The full Fashion-MNIST and MNIST, from idx files as published or as torchvision keeps them; any other set of such
files by the kind `idx`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tangency.data.build import Source, labelled, numbered_classes
from tangency.data.classes import FASHION_MNIST, KMNIST, MNIST
from tangency.data.readers import published
from tangency.data.readers.idx import read_idx, to_tensors
from tangency.data.readers.published import candidates, not_found
from tangency.errors import DataError, listed
from tangency.references import Reference
from tangency.types import LabelledImages

_PREFIXES = {"train": ("train",), "test": ("t10k", "test")}
_PARTS = {3: "images", 1: "labels"}
_NEUTRAL = tuple("0123456789")


@dataclass(frozen=True)
class _FullSet:
    torchvision_name: str
    classes: tuple[str, ...]
    licence: str


FULL_SETS = {
    "fashion-mnist": _FullSet("FashionMNIST", FASHION_MNIST, "MIT, Zalando SE 2017"),
    "mnist": _FullSet("MNIST", MNIST, "CC BY-SA 3.0, Y. LeCun, C. Cortes, C. J. C. Burges"),
}
_OTHERS = {"kmnist": f"idx:DIR?classes={','.join(KMNIST)}"}


def _stem(prefix: str, axes: int) -> str:
    return f"{prefix}-{_PARTS[axes]}-idx{axes}-ubyte"


def _find(folder: Path, prefix: str, axes: int) -> Path | None:
    """The file of that prefix, plain or gzipped, in `folder`."""
    stem = _stem(prefix, axes)
    paths = (folder / name for name in (stem, f"{stem}.gz", stem.replace("-idx", ".idx")))
    return next((path for path in paths if path.is_file()), None)


def _arrays(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray, Path]:
    """Images, labels, and the file of the labels."""
    paths = []
    for axes in _PARTS:
        path, stem = _find(folder, prefix, axes), _stem(prefix, axes)
        if path is None:
            raise DataError(f"{folder}: holds other parts of the set, but neither {stem} nor {stem}.gz. Fetch it too.")
        paths.append(path)
    return read_idx(paths[0], 3), read_idx(paths[1], 1), paths[1]


def _recognised(name: str, folder: Path, path: Path, labels: np.ndarray) -> bool:
    """Whether these are the published labels of `name`; those of another known set are refused."""
    own = published.of_labels(labels) or published.of_file(path)
    if own and own != name:
        raise DataError(
            f"{folder}: this is {own}, expected {name} (both have the same file names). Name the right folder as "
            f"'{name}:DIR', or these images as '{_OTHERS.get(own, f'{own}:DIR')}'."
        )
    return own == name


def _read(reference: Reference, folder: Path, split: str) -> LabelledImages:
    """One split of a known set out of `folder`; what is not its published content gets neutral class names."""
    name = reference.kind
    images, labels, path = _arrays(folder, _PREFIXES[split][0])
    known = _recognised(name, folder, path, labels)
    pixels, targets = to_tensors(images, labels, f"{folder} ({split})")
    if known:
        changed = not published.of_pixels(images)
        note = f"{folder}: the labels of {split} are those of {name}, its pixels are not the published ones"
        return labelled(pixels, targets, FULL_SETS[name].classes, f"{name} {split}", [note] if changed else [])
    note = (
        f"{folder}: {split} is not the published {name}; it may be another set under the same file names (KMNIST, "
        "EMNIST, notMNIST, …) or a part of it, so its classes are only numbered. idx:DIR?classes=a,b,… names them"
    )
    return labelled(pixels, targets, _NEUTRAL, f"{reference.text} {split}", [note])


def _published_labels(name: str, folder: Path) -> bool:
    """Whether the labels that are there are those of `name`, so that its name says what is meant."""
    paths = [path for prefix in ("train", "t10k") if (path := _find(folder, prefix, 1))]
    try:
        return all(published.of_labels(read_idx(path, 1)) == name for path in paths)
    except DataError:
        return False  # a damaged file is reported where it is read


def open_full_set(reference: Reference, root: Path | None) -> Source:
    """Find the full set; an absent one is an error, never another set."""
    name = reference.kind
    known = FULL_SETS[name]
    places = candidates(reference, root, (name, ".", f"{known.torchvision_name}/raw"))
    parts = [(prefix, axes) for prefix in ("train", "t10k") for axes in _PARTS]
    folder = next((place for place in places if any(_find(place, *part) for part in parts)), None)
    if folder is None:
        raise not_found(name, places, "idx files such as train-images-idx3-ubyte.gz", known.torchvision_name)
    own = _published_labels(name, folder)
    text = name if own or not reference.location else f"{name}:{reference.location}"
    licence = known.licence if own else ""
    return Source(text, {split: partial(_read, reference, folder, split) for split in _PREFIXES}, licence)


def _read_any(reference: Reference, folder: Path, prefix: str, split: str) -> LabelledImages:
    images, labels, _ = _arrays(folder, prefix)
    pixels, targets = to_tensors(images, labels, f"{folder} ({split})")
    classes = numbered_classes(targets, reference.options.get("classes", ""), str(folder))
    return labelled(pixels, targets, classes, f"{reference.text} {split}")


def open_idx(reference: Reference, root: Path | None) -> Source:
    """A folder of idx files whatever they hold: [NAME-]train-images-idx3-ubyte[.gz] and its three companions."""
    folder = reference.path(root)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected one with idx files such as train-images-idx3-ubyte.gz.")
    starts = {path.name.partition("idx3-ubyte")[0].rstrip("-.") for path in folder.glob("*idx3-ubyte*")}
    readers = {}
    for split, words in _PREFIXES.items():
        ends = tuple(f"{word}-images" for word in words)
        prefixes = sorted(start.removesuffix("-images") for start in starts if start.endswith(ends))
        if len(prefixes) != 1:
            raise DataError(
                f"{folder}: idx files of images for {split}: {listed(prefixes) or 'none'}, expected one set such as "
                f"{_stem(words[0], 3)}.gz. Put each set into a folder of its own."
            )
        readers[split] = partial(_read_any, reference, folder, prefixes[0], split)
    return Source(reference.text, readers)
