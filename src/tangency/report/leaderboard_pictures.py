"""Pictures of several measured models in one grid: images, targets, one column of gradients a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tangency.report.glossary import TARGETS
from tangency.report.pictures import Cell, Column, grid, groups

_MODELS = "gradients"


@dataclass(frozen=True)
class PictureGrid:
    """The grid with its headings, and the models that kept other pictures or none that could be shown."""

    columns: list[Column]
    groups: list[tuple[str, int]]
    rows: list[tuple[str, list[Cell]]]
    side: int
    left_out: list[str]


def picture_grid(held: Mapping[str, Mapping[str, np.ndarray]], classes: Sequence[str]) -> PictureGrid | None:
    """The pictures of all models that kept the same images as the first one."""
    whole = {label: found for label, found in held.items() if {"image", "labels", "gradient"} <= found.keys()}
    if not whole:
        return None
    first = next(iter(whole.values()))
    images, labels = first["image"], first["labels"]
    columns = [Column("image", "data", "image", "the test image")]
    columns += [Column(name, "targets", *TARGETS[name]) for name in TARGETS if _fits(first.get(name), images)]
    pictures = {column.name: first[column.name] for column in columns} | {"labels": labels}
    left_out = [label for label in held if label not in whole]
    for label, found in whole.items():
        if np.array_equal(found["image"], images) and _fits(found["gradient"], images):
            columns.append(Column(f"gradient.{label}", _MODELS, label, label))
            pictures[f"gradient.{label}"] = found["gradient"]
        else:
            left_out.append(label)
    rows, side = grid(columns, pictures, classes)
    return PictureGrid(columns, groups(columns), rows, side, left_out)


def _fits(found: np.ndarray | None, images: np.ndarray) -> bool:
    return found is not None and found.shape == images.shape
