"""Folders of images, one folder a class: DIR/train/CLASS/*.png with DIR/test, or DIR/CLASS/*.png."""

from __future__ import annotations

from pathlib import Path

import torch

from tangency.data.build import Source, labelled
from tangency.data.decode import decode_images
from tangency.data.references import Reference
from tangency.errors import DataError
from tangency.types import LabelledImages

_LAYOUT = "DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, or DIR/CLASS/*.png"


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _read(folder: Path, reference: Reference, name: str) -> LabelledImages:
    """All images of the class folders under `folder`; every visible file in them must be an image."""
    class_folders = [path for path in _visible(folder) if path.is_dir()]
    files = [(path, label) for label, one in enumerate(class_folders) for path in _visible(one)]
    if not files:
        got = f"{len(class_folders)} empty folders" if class_folders else "no class folders"
        raise DataError(f"{folder}: {got}, expected images as {_LAYOUT}.")
    inner = next((path for path, _ in files if path.is_dir()), None)
    if inner is not None:
        raise DataError(f"{inner}: a folder inside a class folder, expected images as {_LAYOUT}.")
    empty = sorted({path.name for path in class_folders} - {path.parent.name for path, _ in files})
    if empty:
        raise DataError(f"{folder}: the class folder '{empty[0]}' is empty, expected images in it. Remove or fill it.")
    pixels = decode_images([path for path, _ in files], lambda index: str(files[index][0]), reference)
    labels = torch.tensor([label for _, label in files])
    return labelled(pixels, labels, [path.name for path in class_folders], name)


def _check_same_classes(train: Path, test: Path) -> None:
    names = [{path.name for path in _visible(folder) if path.is_dir()} for folder in (train, test)]
    odd = sorted(names[0] ^ names[1])
    if odd:
        where = train if odd[0] in names[0] else test
        raise DataError(f"{where}: only it has the class folder '{odd[0]}'; expected the same in {train} and {test}.")


def open_folder(reference: Reference, root: Path | None) -> Source:
    """A folder with `train` and `test` (or `val`), or with class folders only: then one split."""
    folder = reference.path(root)
    if not folder.is_dir():
        state = "a file" if folder.exists() else "absent"
        raise DataError(f"{folder}: {state}, expected a folder with images as {_LAYOUT}.")
    train = folder / "train"
    test = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), None)
    if train.is_dir() and test is not None:
        _check_same_classes(train, test)
        return Source(
            reference.text,
            {
                "train": lambda: _read(train, reference, f"{reference.text} train"),
                "test": lambda: _read(test, reference, f"{reference.text} {test.name}"),
            },
        )
    return Source(reference.text, {"whole": lambda: _read(folder, reference, reference.text)})
