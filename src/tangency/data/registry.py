"""From a reference to images: the table of kinds, and the two functions that everyone calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tangency.data.build import Source, labelled
from tangency.data.cifar import open_cifar10
from tangency.data.embedded import NAME, open_embedded
from tangency.data.folder import open_folder
from tangency.data.fullsets import FULL_SETS, open_full_set
from tangency.data.npz import open_npz
from tangency.data.parquet import open_parquet
from tangency.data.references import Reference, as_reference, parse
from tangency.data.splits import five_to_one
from tangency.errors import DataError, unknown_name
from tangency.types import Dataset, LabelledImages


@dataclass(frozen=True)
class Kind:
    """A kind of reference.

    Args:
        open: finds the data and says how to read each split.
        location: what may follow the colon: "" nothing, "[DIR]" optional, else required.
        options: names that may follow the question mark.
    """

    open: Callable[[Reference, Path | None], Source]
    location: str
    options: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    NAME: Kind(open_embedded, ""),
    **{name: Kind(open_full_set, "[DIR]", ("train",)) for name in FULL_SETS},
    "cifar10": Kind(open_cifar10, "[DIR]"),
    "parquet": Kind(open_parquet, "FILE", ("image", "label", "classes", "size", "channels")),
    "folder": Kind(open_folder, "DIR", ("size", "channels")),
    "npz": Kind(open_npz, "FILE", ("layout", "classes")),
}


def _source(named: str | Path, root: str | Path | None) -> Source:
    text = as_reference(named)
    reference = parse(text)
    if reference.kind not in KINDS:
        forms = (f"{name}:{kind.location}" if kind.location else name for name, kind in KINDS.items())
        raise DataError(f"{unknown_name('data set', reference.kind, KINDS)} References: {', '.join(forms)}.")
    kind = KINDS[reference.kind]
    if reference.location and not kind.location:
        raise DataError(
            f"{text}: '{reference.kind}' is in the package and takes no location, got {reference.location}."
        )
    if not reference.location and kind.location and not kind.location.startswith("["):
        raise DataError(f"{text}: no location, expected {reference.kind}:{kind.location}.")
    reference.check_options(kind.options)
    return kind.open(reference, None if root is None else Path(root))


def _same_numbers(train: LabelledImages, test: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """Both splits with the classes of the one that has more, where they are only numbered: a small one lacks some."""
    most = max(train.classes, test.classes, key=len)
    if any(split.classes != tuple(map(str, range(len(split.classes)))) for split in (train, test)):
        return train, test
    first, second = (
        split if split.classes == most else labelled(split.pixels, split.labels, most, split.name)
        for split in (train, test)
    )
    return first, second


def load(reference: str | Path, root: str | Path | None = None) -> Dataset:
    """Load a data set with a training and a test split.

    Where the reference has one split only, each class is split five to one, always in the same way, and the
    names of the parts say so.

    Args:
        reference: `name` or `kind:location[?key=value&…]`: fashion-mnist-5k (in the package),
            fashion-mnist[:DIR], mnist[:DIR] (?train=20000 keeps that many training images), cifar10[:DIR],
            parquet:FILE, folder:DIR, npz:FILE. `KINDS` lists the options of each. FILE.npz and FILE.parquet alone
            will do, and so will the `Path` of a folder.
        root: folder that relative locations start from, and the only one searched for full sets; where None,
            full sets are searched in $TANGENCY_DATA, ./data and ~/.cache.

    Returns:
        Train and test, images uint8 or float32 (N, C, H, W), labels (N,) int64; each with its own SHA-256
        digest.

    Raises:
        DataError: an unknown reference, absent, damaged or inconsistent data. A full set is never replaced by
            another one.

    Example:
        >>> data = load("fashion-mnist-5k")
        >>> data.train.pixels.shape
        torch.Size([5000, 1, 28, 28])
    """
    source = _source(reference, root)
    if "whole" in source.splits:
        train, test = five_to_one(source.splits["whole"]())
        return Dataset(f"{source.name} [split 5:1]", train, test, source.licence)
    train, test = source.splits["train"](), source.splits["test"]()
    train, test = _same_numbers(train, test)
    if train.shape != test.shape or train.classes != test.classes:
        raise DataError(
            f"{reference}: train has shape {train.shape} and {len(train.classes)} classes, test {test.shape} "
            f"and {len(test.classes)}; expected the same. Name the classes (classes=a,b,c), or "
            "convert the images."
        )
    return Dataset(source.name, train, test, source.licence)


def load_split(reference: str | Path, split: str | None = None, root: str | Path | None = None) -> LabelledImages:
    """Load one split, without reading the other where the source keeps them apart.

    Args:
        reference: as for `load`.
        split: "train" or "test", the same images as `load` gives; None for the images to measure on: all
            images where the reference has one split only (a Parquet file, say), else the test images.
        root: as for `load`.

    Raises:
        DataError: as for `load`, and an unknown split.
    """
    if split not in (None, "train", "test"):
        raise DataError(f"{reference}: {unknown_name('split', split, ('train', 'test'))}")
    source = _source(reference, root)
    if "whole" not in source.splits:
        return source.splits[split or "test"]()
    if split is None:
        return source.splits["whole"]()
    parts = load(reference, root)
    return parts.train if split == "train" else parts.test
