"""From a reference to images: the table of kinds, and the two functions that everyone calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from tangency.data.build import Source, labelled
from tangency.data.embedded import NAME, open_embedded
from tangency.data.readers.cifar import open_cifar10
from tangency.data.readers.downsampled import SIZES, open_downsampled
from tangency.data.readers.folder import open_folder
from tangency.data.readers.fullsets import FULL_SETS, open_full_set, open_idx
from tangency.data.readers.npz import open_npz
from tangency.data.readers.parquet import open_parquet
from tangency.data.splits import cut, five_to_one
from tangency.errors import DataError, listed, unknown_name
from tangency.references import Reference, Registry, as_reference, parse
from tangency.types import Dataset, LabelledImages


@dataclass(frozen=True)
class Kind:
    """A kind of reference.

    Args:
        open: finds the data and says how to read each split.
        location: what may follow the colon: "" nothing, "[DIR]" optional, else required.
        options: names that may follow the question mark, besides `COUNTS`.
    """

    open: Callable[[Reference, Path | None], Source]
    location: str
    options: tuple[str, ...] = ()

    @property
    def pairs(self) -> bool:
        """Whether `test=` may name the test images: another file or folder of the same kind."""
        return bool(self.location) and not self.location.startswith("[")


KINDS: Registry[Kind] = Registry(
    "data set",
    "tangency.data",
    {
        NAME: Kind(open_embedded, ""),
        **{name: Kind(open_full_set, "[DIR]") for name in FULL_SETS},
        "cifar10": Kind(open_cifar10, "[DIR]"),
        "parquet": Kind(open_parquet, "FILE", ("image", "label", "classes", "size", "channels", "config")),
        "folder": Kind(open_folder, "DIR", ("size", "channels")),
        "npz": Kind(open_npz, "FILE", ("layout", "classes")),
        "idx": Kind(open_idx, "DIR", ("classes",)),
        **{f"imagenet{size}": Kind(open_downsampled, "DIR", ("order",)) for size in SIZES},
    },
    "a Kind: how it is opened, which location and options it takes",
    lambda held: isinstance(held, Kind),
    DataError,
)
# Options of every kind: how many images of each split are kept, at random but always the same.
COUNTS = ("train", "test")


def _source(named: str | Path, root: str | Path | None) -> tuple[Source, dict[str, int | None]]:
    """What a reference names, and how many images of each split are requested."""
    text, root = as_reference(named), None if root is None else Path(root)
    reference = parse(text)
    if reference.kind not in KINDS:
        kinds = {name: KINDS[name].location for name in KINDS.own} | {n: "…" for n in KINDS if n not in KINDS.own}
        forms = (f"{name}:{location}" if location else name for name, location in kinds.items())
        raise DataError(f"{unknown_name('data set', reference.kind, KINDS)} References: {', '.join(forms)}.")
    kind = KINDS[reference.kind]
    if reference.location and not kind.location:
        raise DataError(
            f"{text}: '{reference.kind}' is in the package and takes no location, got {reference.location}."
        )
    if not reference.location and kind.pairs:
        raise DataError(f"{text}: no location, expected {reference.kind}:{kind.location}.")
    reference.check_options((*kind.options, *COUNTS))
    splits = _named_splits(reference, kind)
    counts = {part: None if part in splits else reference.integer(part) for part in COUNTS}
    source = _paired(reference, kind, root) if "test" in splits else kind.open(reference, root)
    if not isinstance(cast(object, source), Source):
        raise DataError(f"{text}: opened an object of type {type(source).__name__}, expected a Source.")
    if source.counted:
        return source, dict.fromkeys(COUNTS)
    given = "&".join(f"{part}={count}" for part, count in counts.items() if count is not None)
    name = source.name if "?" in source.name or not given else f"{source.name}?{given}"
    return replace(source, name=name), counts


def _named_splits(reference: Reference, kind: Kind) -> tuple[str, ...]:
    """Which of `train` and `test` name images rather than count them."""
    if not kind.pairs:
        return ()
    texts = {part: reference.options.get(part, "") for part in COUNTS}
    return tuple(part for part, text in texts.items() if text and not text.lstrip("-+.").isdecimal())


def _paired(reference: Reference, kind: Kind, root: Path | None) -> Source:
    """Training images of the location, test images of another one, which `test=` names."""
    other = reference.options["test"]
    place = replace(reference, location=other).path(root)
    if reference.kind == "parquet" and not place.exists() and not any(sign in other for sign in "*[/\\."):
        return kind.open(reference, root)  # the name of a split
    options = {name: value for name, value in reference.options.items() if name != "test"}
    parts = {
        part: kind.open(replace(reference, location=location, options=options), root)
        for part, location in (("train", reference.location), ("test", other))
    }
    splits = {part: source.splits.get("whole") or source.splits[part] for part, source in parts.items()}
    notes = tuple(note for source in parts.values() for note in source.notes if "five to one" not in note)
    return Source(reference.text, splits, parts["train"].licence, notes)


def _same_classes(train: LabelledImages, test: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """Both splits with the same classes in the same order, where the names of one are among those of the other."""
    if train.classes == test.classes:
        return train, test
    numbered = [split.classes == tuple(map(str, range(len(split.classes)))) for split in (train, test)]
    most = max(train.classes, test.classes, key=len)
    if any(numbered) != all(numbered) or set(train.classes) | set(test.classes) != set(most):
        return train, test
    return _renumbered(train, most), _renumbered(test, most)


def _renumbered(split: LabelledImages, classes: tuple[str, ...]) -> LabelledImages:
    if split.classes == classes:
        return split
    place = split.labels.new_tensor([classes.index(name) for name in split.classes])
    notes = split.notes
    if split.classes != classes[: len(split.classes)]:
        notes = (*notes, f"{split.name}: labels are brought to the classes of both splits, by name")
    return labelled(split.pixels, place[split.labels], classes, split.name, notes)


def load(reference: str | Path, root: str | Path | None = None) -> Dataset:
    """Load a data set with a training and a test split.

    Where the reference has one split only, each class is split five to one, always in the same way, and the
    names of the parts say so.

    Args:
        reference: `name` or `kind:location[?key=value&…]`: fashion-mnist-5k (in the package),
            fashion-mnist[:DIR], mnist[:DIR], cifar10[:DIR], parquet:FILE (or a folder or pattern of files, a Hub
            repository, what save_to_disk wrote), folder:DIR, npz:FILE, idx:DIR, and imagenet64:DIR, imagenet32:DIR,
            imagenet16:DIR, imagenet8:DIR. `?train=20000` keeps that many training images, `?test=500` test images;
            `?test=FILE` names the test images where they lie apart. docs/data.md lists the options of each. FILE.npz
            and FILE.parquet alone will do, and so will the `Path` of a folder.
            "package/name" and "package/name:…" are of other packages.
        root: folder that relative locations start from, and the only one searched for full sets; where None,
            full sets are searched in $TANGENCY_DATA, ./data and ~/.cache.

    Returns:
        Train and test, images uint8 or float32 (N, C, H, W), labels (N,) int64; each with its own SHA-256
        digest; `notes` says what was decided in reading them.

    Raises:
        DataError: an unknown reference, absent, damaged or inconsistent data. A full set is never replaced by
            another one.

    Example:
        >>> data = load("fashion-mnist-5k")
        >>> data.train.pixels.shape
        torch.Size([5000, 1, 28, 28])
    """
    source, counts = _source(reference, root)
    name = source.name
    if source.halves:
        train, test = (source.halves[part]() for part in COUNTS)
        counts = dict.fromkeys(COUNTS)
    elif "whole" in source.splits:
        train, test = five_to_one(source.splits["whole"]())
    else:
        train, test = _same_classes(source.splits["train"](), source.splits["test"]())
    if train.shape != test.shape or train.classes != test.classes:
        raise DataError(
            f"{reference}: train has shape {train.shape} and {len(train.classes)} classes, test {test.shape} "
            f"and {len(test.classes)} ({_odd(train, test)}); expected the same. Name the classes (classes=a,b,c), or "
            "convert the images."
        )
    notes = tuple(dict.fromkeys((*source.notes, *train.notes, *test.notes)))
    train, test = (cut(split, counts[part], str(reference), part) for part, split in (("train", train), ("test", test)))
    return Dataset(f"{name} [split 5:1]" if "whole" in source.splits else name, train, test, source.licence, notes)


def _odd(train: LabelledImages, test: LabelledImages) -> str:
    """What only one of two splits has, in words."""
    odd = [name for name in (*train.classes, *test.classes) if (name in train.classes) != (name in test.classes)]
    if odd:
        return f"only one of them has {listed(odd)}"
    return "the same names" if train.classes != test.classes else "equal"


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
    source, counts = _source(reference, root)
    if "whole" in source.splits and split is not None:
        parts = load(reference, root)
        return parts.train if split == "train" else parts.test
    part = split or "test"
    read = source.splits["whole" if "whole" in source.splits else part]
    images = cut(read(), counts[part], str(reference), part)
    return replace(images, notes=tuple(dict.fromkeys((*source.notes, *images.notes))))
