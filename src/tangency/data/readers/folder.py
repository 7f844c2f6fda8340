"""Folders of images, one folder a class, in the usual layouts: with splits, without, Tiny-ImageNet's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from tangency.data.build import Source, labelled
from tangency.data.readers.decode import decode_images
from tangency.data.splits import PARTS, held_out, kept_of
from tangency.errors import DataError, counted, listed
from tangency.references import Reference
from tangency.types import LabelledImages

_LAYOUT = "DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, or DIR/CLASS/*.png"
_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation", "dev")
_LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini", "__macosx")
_ANNOTATIONS = "val_annotations.txt"


@dataclass
class Listing:
    """Image files with their labels.

    Args:
        classes: names, index = label.
        files: (path, label), class by class.
        skipped: names of files that systems leave, which were passed over.
    """

    classes: list[str] = field(default_factory=list)
    files: list[tuple[Path, int]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def _entries(folder: Path, skipped: list[str] | None = None) -> list[Path]:
    """What lies in a folder, in order, without hidden files and those that systems leave."""
    entries = sorted(folder.iterdir())
    ignored = [p for p in entries if p.name.startswith(".") or p.name.lower() in _LEFT_BY_SYSTEMS]
    if skipped is not None:
        skipped += [path.name for path in ignored]
    return [path for path in entries if path not in ignored]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _images(folder: Path, skipped: list[str]) -> list[Path]:
    """The files of a class folder: in it, or, as Tiny-ImageNet has them, in its only folder `images`."""
    entries = _entries(folder, skipped)
    inner = [path for path in entries if path.is_dir()]
    if [path.name for path in inner] == ["images"] and all(p.suffix == ".txt" for p in entries if p.is_file()):
        return _images(inner[0], skipped)
    if inner:
        raise DataError(f"{inner[0]}: a folder inside a class folder, expected images as {_LAYOUT}.")
    return entries


def _by_class(folder: Path) -> Listing:
    """The images of the class folders under `folder`; every file in them must be an image."""
    listing = Listing()
    class_folders = [path for path in _entries(folder, listing.skipped) if path.is_dir()]
    listing.classes = [path.name for path in class_folders]
    for label, one in enumerate(class_folders):
        listing.files += [(path, label) for path in _images(one, listing.skipped)]
    if not listing.files:
        got = counted(len(class_folders), "empty folder") if class_folders else "no class folders"
        raise DataError(f"{folder}: {got}, expected images as {_LAYOUT}.")
    filled = {label for _, label in listing.files}
    empty = [name for label, name in enumerate(listing.classes) if label not in filled]
    if empty:
        raise DataError(f"{folder}: the class folder '{empty[0]}' is empty, expected images in it. Remove or fill it.")
    return listing


def _by_annotations(folder: Path, classes: Sequence[str]) -> Listing:
    """Tiny-ImageNet's validation images: one folder, and a text file that names the class of each."""
    path, listing = folder / _ANNOTATIONS, Listing(list(classes))
    named: dict[str, int] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split("\t") if "\t" in line else line.split()
        if len(parts) < 2:
            continue
        if parts[1] not in classes:
            raise DataError(f"{path}: '{parts[0]}' is of class '{parts[1][:40]}', which has no folder in train.")
        named[parts[0]] = classes.index(parts[1])
    images = _entries(folder / "images", listing.skipped)
    absent = set(named) - {image.name for image in images}
    for image in images:
        if image.name not in named:
            raise DataError(f"{image}: {_ANNOTATIONS} does not name its class, expected a line for each image.")
    if absent:
        raise DataError(f"{path}: names '{min(absent)}', which is not in '{folder / 'images'}'. Fetch the set again.")
    if not images:
        raise DataError(f"{folder}: no images in '{folder / 'images'}', expected those of {_ANNOTATIONS}.")
    listing.files = [(image, named[image.name]) for image in images]
    return listing


def _read(
    folder: Path,
    reference: Reference,
    name: str,
    annotated: Sequence[str] | None = None,
    part: str = "",
    half: bool = False,
) -> LabelledImages:
    """The images of a folder; of a split, `part`, only as many are decoded as the reference requests.

    With `half` the folder holds one split only, of which `part` is that which `five_to_one` makes of it.
    """
    listing = _by_class(folder) if annotated is None else _by_annotations(folder, annotated)
    files, first = listing.files, listing.files[0][0]
    if half:
        mask = held_out(torch.tensor([label for _, label in files]), tuple(listing.classes), name)
        files = [file for file, held in zip(files, mask.tolist(), strict=True) if held == (part == "test")]
        name = f"{name} [{PARTS[part]}]"
    if part:
        files = [files[i] for i in kept_of(len(files), reference.integer(part), reference.text, part)]
    pixels, turned = decode_images(
        [path for path, _ in files], lambda index: str(files[index][0]), reference, first=first
    )
    notes = []
    if listing.skipped:
        kinds = listed(sorted(set(listing.skipped)), 3)
        several = len(listing.skipped) > 1
        what = f"{len(listing.skipped)} files or folders" if several else "1 file or folder"
        notes.append(f"{folder}: {what} that systems leave {'were' if several else 'was'} skipped ({kinds})")
    if turned:
        notes.append(
            f"{folder}: {turned} of {len(files)} images carry an EXIF orientation, which is not applied, as in "
            "torchvision's ImageFolder; turn them beforehand where networks were trained on upright ones"
        )
    return labelled(pixels, torch.tensor([label for _, label in files]), listing.classes, name, notes)


def _annotated(folder: Path) -> bool:
    return (folder / _ANNOTATIONS).is_file() and (folder / "images").is_dir() and bool(_entries(folder / "images"))


def _is_split(folder: Path) -> bool:
    """Whether a folder holds labelled images of its own: class folders, or images with annotations."""
    inner = _folders(folder)
    return _annotated(folder) or any(path.name != "images" for path in inner)


def _named(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Folders of these names in any case, in the order of the names."""
    named = [path for path in _folders(folder) if path.name.lower() in names]
    return sorted(named, key=lambda path: names.index(path.name.lower()))


def _check_same_classes(train: Path, test: Path) -> None:
    names = [{path.name for path in _folders(folder)} for folder in (train, test)]
    odd = sorted(names[0] ^ names[1])
    if odd:
        where = train if odd[0] in names[0] else test
        others = f" ({len(odd)} such folders)" if len(odd) > 1 else ""
        raise DataError(
            f"{where}: only it has the class folder '{odd[0]}'{others}; expected the same in {train} and {test}."
        )


def open_folder(reference: Reference, root: Path | None) -> Source:
    """A folder with training and test images in folders that say so, or with class folders only: then one split."""
    folder = reference.path(root)
    if not folder.is_dir():
        state = "a file" if folder.exists() else "absent"
        raise DataError(f"{folder}: {state}, expected a folder with images as {_LAYOUT}.")
    trains = [path for path in _named(folder, _TRAIN) if _is_split(path)]
    tests = _named(folder, _TEST)
    labelled_tests = [path for path in tests if _is_split(path)]
    if len(trains) > 1:
        raise DataError(
            f"{folder}: holds {listed(path.name for path in trains)}, expected one folder of training images."
        )
    if trains and labelled_tests:
        return _two(reference, trains[0], labelled_tests[0], tests)
    if trains and len(_folders(folder)) == len(tests) + 1:
        unlabelled = f", as {listed(path.name for path in tests)} has no class folders" if tests else ""
        note = (
            f"only '{trains[0].name}' holds labelled images{unlabelled}: they are split five to one for train and test"
        )
        return _one(reference, trains[0], (note,))
    return _one(reference, folder)


def _one(reference: Reference, folder: Path, notes: tuple[str, ...] = ()) -> Source:
    """A folder with one split: whole, or in halves where a number of images is requested."""
    read = partial(_read, folder, reference, reference.text)
    counts = [reference.integer(part) for part in PARTS]
    halves = {part: partial(read, part=part, half=True) for part in PARTS} if any(counts) else {}
    return Source(reference.text, {"whole": read}, notes=notes, halves=halves)


def _two(reference: Reference, train: Path, test: Path, tests: list[Path]) -> Source:
    notes, annotated = [], None
    others = [path.name for path in tests if path != test]
    if others:
        notes.append(f"test images are those of '{test.name}'; not used: {listed(others)}")
    if _annotated(test):
        annotated = [path.name for path in _folders(train)]
        if (test.parent / "wnids.txt").is_file():
            notes.append("classes are in sorted order, as torchvision's ImageFolder has them, not in that of wnids.txt")
    else:
        _check_same_classes(train, test)
    return Source(
        reference.text,
        {
            "train": partial(_read, train, reference, f"{reference.text} train", part="train"),
            "test": partial(_read, test, reference, f"{reference.text} {test.name}", annotated, "test"),
        },
        notes=tuple(notes),
        counted=True,
    )
