"""Pictures of several measured models in one grid: images, targets, and a column of gradients for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tangency.report.draw.pictures import PictureCell, PictureColumn, column_groups, picture_rows
from tangency.report.text.glossary import TARGETS

_MODELS = "gradients"


@dataclass(frozen=True)
class PictureGrid:
    """The grid with its headings, and the labels of models that kept pictures of other images, or none."""

    columns: list[PictureColumn]
    groups: list[tuple[str, int]]
    rows: list[tuple[str, list[PictureCell]]]
    side: int
    left_out: list[str]


def model_pictures(pictures: Mapping[str, Mapping[str, np.ndarray]], classes: Sequence[str]) -> PictureGrid | None:
    """The pictures of all models that kept the same images as the first one."""
    whole = {label: own for label, own in pictures.items() if {"image", "labels", "gradient"} <= own.keys()}
    if not whole:
        return None
    first = next(iter(whole.values()))
    images, labels = first["image"], first["labels"]
    columns = [PictureColumn("image", "data", "image", "the test image")]
    columns += [PictureColumn(name, "targets", *TARGETS[name]) for name in TARGETS if _fits(first.get(name), images)]
    shown = {column.name: first[column.name] for column in columns} | {"labels": labels}
    left_out = [label for label in pictures if label not in whole]
    for label, own in whole.items():
        if np.array_equal(own["image"], images) and _fits(own["gradient"], images):
            columns.append(PictureColumn(f"gradient.{label}", _MODELS, label, label))
            shown[f"gradient.{label}"] = own["gradient"]
        else:
            left_out.append(label)
    rows, side = picture_rows(columns, shown, classes)
    return PictureGrid(columns, column_groups(columns), rows, side, left_out)


def _fits(picture: np.ndarray | None, images: np.ndarray) -> bool:
    """Whether there is a picture for each image."""
    return picture is not None and picture.shape == images.shape
