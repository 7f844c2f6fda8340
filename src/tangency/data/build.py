"""Where every reader hands over pixels, labels and class names, to be checked and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tangency.errors import DataError
from tangency.types import LabelledImages, check_labels


@dataclass(frozen=True)
class Source:
    """What a reference names, not yet read.

    Args:
        name: the reference.
        splits: functions that read "train" and "test", or only "whole" where there is one split.
        licence: of the data, where known.
        notes: what was decided in finding it, in sentences.
        counted: whether the readers keep to the options `train` and `test` (numbers of images) themselves.
        halves: of one split, functions that read its "train" and "test", as `five_to_one` has them, and keep to these
            options; none where only the whole can be read.
    """

    name: str
    splits: Mapping[str, Callable[[], LabelledImages]]
    licence: str = ""
    notes: tuple[str, ...] = ()
    counted: bool = False
    halves: Mapping[str, Callable[[], LabelledImages]] = field(default_factory=dict)


def digest(pixels: Tensor, labels: Tensor, classes: Sequence[str]) -> str:
    """SHA-256 (hexadecimal) over dtype, shape and bytes of the pixels, the labels and the class names.

    Args:
        pixels: (N, C, H, W), uint8 or float32.
        labels: (N,) int64.
        classes: names, index = label.
    """
    header = json.dumps([str(pixels.dtype), list(pixels.shape), list(classes)]).encode()
    hasher = hashlib.sha256(len(header).to_bytes(8, "little") + header)
    hasher.update(pixels.contiguous().numpy().data)
    hasher.update(labels.contiguous().numpy().data)
    return hasher.hexdigest()


def labelled(
    pixels: Tensor, labels: Tensor, classes: Sequence[str], name: str, notes: Sequence[str] = ()
) -> LabelledImages:
    """Checked images with labels and digest.

    Args:
        pixels: (N, C, H, W), uint8 in [0, 255] or float32 in [0, 1].
        labels: (N,), integers in [0, len(classes)).
        classes: names, index = label; all different.
        name: what errors and results call the data.
        notes: what was decided in reading them, in sentences.

    Raises:
        DataError: no images, another number of labels than of images, labels out of range, equal class names.
    """
    if len(pixels) == 0:
        raise DataError(f"{name}: holds no images, expected at least one.")
    check_labels(labels, len(pixels), len(classes), f"{name}: labels")
    if len(set(classes)) != len(classes):
        twice = next(c for c in classes if list(classes).count(c) > 1)
        raise DataError(f"{name}: the class name '{twice}' appears twice, expected different names.")
    labels = labels.to(torch.int64)
    return LabelledImages(pixels, labels, tuple(classes), name, digest(pixels, labels, classes), notes=tuple(notes))


def numbered_classes(labels: Tensor, given: str, name: str) -> tuple[str, ...]:
    """Class names from the option `classes=a,b,c`, or the numbers 0 … max where it is absent.

    Args:
        labels: (N,) integers.
        given: the option's text, empty where absent.
        name: what errors call the data.
    """
    if given:
        return tuple(part.strip() for part in given.split(","))
    highest = int(labels.max()) if labels.numel() and not labels.is_floating_point() else 0
    if highest >= max(1000, 10 * len(labels)):
        raise DataError(
            f"{name}: the highest label is {highest} for {len(labels)} images, expected class numbers 0, 1, "
            "2, … Choose the right label column (label=…), or name the classes (classes=a,b,c)."
        )
    return tuple(str(i) for i in range(highest + 1))
