"""NumPy archives with images and labels; object arrays (pickles) are refused."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tangency.data.build import Source, labelled, numbered_classes
from tangency.errors import DataError, NumericsError, listed, quoted
from tangency.formats.arrays import DAMAGED, read_arrays
from tangency.formats.opening import existing_file, refuse_foreign
from tangency.references import Reference
from tangency.types import LabelledImages, check_images

_EXPECTED = "an .npz archive with the arrays images and labels, or train_images, train_labels, test_images, …"
_KEYS: tuple[dict[str, tuple[str, str]], ...] = (
    {"train": ("train_images", "train_labels"), "test": ("test_images", "test_labels")},
    {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")},
    {"whole": ("images", "labels")},
    {"whole": ("x", "y")},
)
_COLOURS = (1, 3)
_LAYOUTS = ("NHW", "NHWC", "NCHW")


def _names(path: Path) -> list[str]:
    with existing_file(path, _EXPECTED).open("rb") as handle:
        head = handle.read(512)
    if not head.startswith(b"PK"):
        refuse_foreign(head, str(path), _EXPECTED)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except DAMAGED as error:
        raise DataError(f"{path}: not a readable archive ({quoted(error)}), expected {_EXPECTED}.") from error


def _layout(shape: tuple[int, ...], reference: Reference, what: str) -> str:
    """NHW, NHWC or NCHW: as the user said, or by the only axis of size 1 or 3."""
    given = reference.options.get("layout", "").upper()
    if given and given not in _LAYOUTS:
        raise DataError(f"{what}: layout={given}, expected one of {', '.join(_LAYOUTS)}.")
    if len(shape) == 3 and given in ("", "NHW"):
        return "NHW"
    if len(shape) != 4 or given == "NHW":
        raise DataError(f"{what}: shape {shape}, expected {given or '(N, H, W), (N, H, W, C) or (N, C, H, W)'}.")
    channels = {"NHWC": shape[3], "NCHW": shape[1]}
    possible = [layout for layout, size in channels.items() if size in _COLOURS and given in ("", layout)]
    if len(possible) == 1:
        return possible[0]
    if given:
        raise DataError(f"{what}: shape {shape} as {given}, expected 1 or 3 channels.")
    if possible:
        raise DataError(f"{what}: shape {shape} may be NHWC or NCHW; say which with layout=NHWC or layout=NCHW.")
    raise DataError(f"{what}: shape {shape} has no axis of 1 or 3 channels, second or last, as expected.")


def to_pixels(images: np.ndarray, reference: Reference, what: str) -> Tensor:
    """(N, C, H, W), uint8 or float32 in [0, 1], from NHW, NHWC or NCHW.

    Args:
        images: uint8 in [0, 255] or floating point in [0, 1].
        reference: its option `layout` settles an ambiguous shape.
        what: what errors call the array.

    Raises:
        DataError: another dtype or shape, values that are not finite or not in [0, 1].
    """
    layout = _layout(images.shape, reference, what)
    if layout == "NHW":
        images = images[:, None]
    elif layout == "NHWC":
        images = images.transpose(0, 3, 1, 2)
    if images.dtype == np.uint8:
        return torch.from_numpy(np.array(images, order="C"))
    if images.dtype.kind != "f":
        raise DataError(f"{what}: got {images.dtype}, expected uint8 in [0, 255] or floating point in [0, 1].")
    pixels = torch.from_numpy(np.array(images, np.float32, order="C"))
    try:
        check_images(pixels, what)
    except NumericsError as error:
        raise DataError(str(error)) from error
    return pixels


def _read(path: Path, keys: tuple[str, str], reference: Reference, split: str) -> LabelledImages:
    named = "classes" in _names(path)
    images, targets, *names = read_arrays(path, _EXPECTED, (*keys, *(("classes",) if named else ()))).values()
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.dtype.kind not in "iuf":
        raise DataError(f"{path}: the array '{keys[1]}' holds {targets.dtype}, expected class numbers.")
    labels = torch.from_numpy(targets.astype(np.int64 if targets.dtype.kind in "iu" else np.float64))
    given = reference.options.get("classes", "")
    classes = (
        tuple(map(str, np.atleast_1d(names[0]))) if names and not given else numbered_classes(labels, given, str(path))
    )
    name = reference.text if split == "whole" else f"{reference.text} {split}"
    return labelled(to_pixels(images, reference, f"{path}: {keys[0]}"), labels, classes, name)


def open_npz(reference: Reference, root: Path | None) -> Source:
    """An .npz archive: one split (images, labels) or two (train_images, …; also the names x_train, …)."""
    path = reference.path(root)
    names = _names(path)
    for keys_of in _KEYS:
        if all(key in names for keys in keys_of.values() for key in keys):
            return Source(
                reference.text,
                {split: partial(_read, path, keys, reference, split) for split, keys in keys_of.items()},
            )
    raise DataError(f"{path}: holds {listed(names) or 'nothing'}; expected {_EXPECTED}.")
