"""The full Fashion-MNIST and MNIST, from idx files as published or as torchvision keeps them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tangency.data.build import Source, labelled
from tangency.data.classes import FASHION_MNIST, MNIST
from tangency.data.idx import read_idx, to_tensors
from tangency.data.places import candidates, not_found
from tangency.data.references import Reference
from tangency.errors import DataError
from tangency.seeding import permutation
from tangency.types import LabelledImages

_PREFIXES = {"train": "train", "test": "t10k"}
_STEMS = {
    (split, axes): f"{prefix}-{part}-idx{axes}-ubyte"
    for split, prefix in _PREFIXES.items()
    for axes, part in ((3, "images"), (1, "labels"))
}

# SHA-256 of the published label bytes: both sets use the same file names, so one is easily taken for the
# other.
_PUBLISHED_LABELS = {
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": "fashion-mnist",
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9": "fashion-mnist",
    "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13": "mnist",
    "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5": "mnist",
}


@dataclass(frozen=True)
class _FullSet:
    torchvision_name: str
    classes: tuple[str, ...]
    licence: str


FULL_SETS = {
    "fashion-mnist": _FullSet("FashionMNIST", FASHION_MNIST, "MIT, Zalando SE 2017"),
    "mnist": _FullSet("MNIST", MNIST, "CC BY-SA 3.0, Y. LeCun, C. Cortes, C. J. C. Burges"),
}


def _find(folder: Path, stem: str) -> Path | None:
    """The file `stem`, plain or gzipped, in `folder`."""
    found = (folder / name for name in (stem, f"{stem}.gz", stem.replace("-idx", ".idx")))
    return next((path for path in found if path.is_file()), None)


def _array(folder: Path, split: str, axes: int) -> np.ndarray:
    stem = _STEMS[split, axes]
    path = _find(folder, stem)
    if path is None:
        raise DataError(f"{folder}: holds other parts of the set, but neither {stem} nor {stem}.gz. Fetch it too.")
    return read_idx(path, axes)


def _read(name: str, folder: Path, split: str) -> LabelledImages:
    """One split out of `folder`."""
    images, labels = _array(folder, split, 3), _array(folder, split, 1)
    published = _PUBLISHED_LABELS.get(hashlib.sha256(labels.tobytes()).hexdigest(), name)
    if published != name:
        raise DataError(
            f"{folder}: this is {published}, expected {name} (both have the same file names). "
            f"Name the right folder as '{name}:DIR'."
        )
    pixels, targets = to_tensors(images, labels, f"{folder} ({split})")
    return labelled(pixels, targets, FULL_SETS[name].classes, f"{name} {split}")


def open_full_set(reference: Reference, root: Path | None) -> Source:
    """Find the full set; an absent one is an error, never another set. `train=N` keeps N training images, at random."""
    name, kept = reference.kind, reference.integer("train")
    known = FULL_SETS[name]
    places = candidates(reference, root, (name, ".", f"{known.torchvision_name}/raw"))
    folder = next((place for place in places if any(_find(place, stem) for stem in _STEMS.values())), None)
    if folder is None:
        raise not_found(name, places, "idx files such as train-images-idx3-ubyte.gz", known.torchvision_name)
    return Source(
        name if kept is None else f"{name}?train={kept}",
        {
            "train": lambda: _cut(_read(name, folder, "train"), kept, reference.text),
            "test": lambda: _read(name, folder, "test"),
        },
        known.licence,
    )


def _cut(images: LabelledImages, kept: int | None, reference: str) -> LabelledImages:
    """The first images of one fixed permutation, so that fewer are among more."""
    if kept is None:
        return images
    if kept > len(images):
        raise DataError(f"{reference}: train={kept}, there are {len(images)} training images.")
    return images.subset(permutation(len(images), 0, "training images")[:kept])
