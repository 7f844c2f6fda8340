"""Grids of images, targets and gradients, by trial or by measured model, as cells of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tangency.report.draw.pixels import data_uri, photograph, signed, signed_colour
from tangency.report.read.trials import BAYES, is_reference
from tangency.report.text.glossary import TARGETS, objective_name
from tangency.report.text.numbers import capital
from tangency.report.text.trials import regime_label, strength_label
from tangency.study.summary.entries import TrialEntry

START, REFERENCE = "start", "references"  # groups of the trials without a strength: the standard one, the references
UNNAMED = ("data", "targets", START, REFERENCE)  # groups that headings leave out
ROWS = 10  # images of a grid at most
PIXEL_BUDGET = 1_200_000  # pixels of all pictures together, so that the page stays a few MB


@dataclass(frozen=True)
class PictureColumn:
    """One column of the grid: the name of an array in pictures.safetensors, and how it is headed."""

    name: str
    group: str
    label: str
    note: str
    regime: str = ""

    @property
    def heading(self) -> str:
        """The label, after its group where it needs one."""
        return self.label if self.group in UNNAMED else f"{self.group} {self.label}"


@dataclass(frozen=True)
class PictureCell:
    """One picture: PNG data URI ("" where there is none), a colour version if it has channels, and its texts."""

    source: str
    coloured: str
    text: str
    caption: str


@dataclass(frozen=True)
class PictureGrid:
    """A grid: its columns and their groups, its rows by class name, the side in pixels at which pictures are drawn."""

    columns: list[PictureColumn]
    groups: list[tuple[str, int]]
    rows: list[tuple[str, list[PictureCell]]]
    side: int

    @classmethod
    def of(
        cls, columns: list[PictureColumn], pictures: Mapping[str, np.ndarray], classes: Sequence[str]
    ) -> PictureGrid:
        """The grid of these columns; `pictures` holds their arrays and "labels", or nothing."""
        if not pictures:
            return cls([], [], [], 0)
        return cls(columns, column_groups(columns), *picture_rows(columns, pictures, classes))

    @property
    def starts(self) -> list[int]:
        """Places of the columns where a group starts, but the first."""
        return [i for i in range(1, len(self.columns)) if self.columns[i].group != self.columns[i - 1].group]


def data_columns(targets: Sequence[str]) -> list[PictureColumn]:
    """The image and the targets."""
    return [PictureColumn("image", "data", "image", "the test image")] + [
        PictureColumn(name, "targets", *TARGETS[name]) for name in targets
    ]


def picture_columns(trials: Sequence[TrialEntry], pictures: Mapping[str, np.ndarray]) -> list[PictureColumn]:
    """Image, targets, the Bayes rule, then one column per trial of the first seed that kept gradients."""
    out = data_columns([name for name in TARGETS if name in pictures])
    kept = [trial for trial in trials if f"gradient.{trial.id}" in pictures]
    seeds = {trial.seed for trial in kept}
    for trial in kept:
        objective = trial.objective
        if trial.seed == min(seeds) or objective == BAYES:  # there is one Bayes rule for all seeds
            name = objective_name(objective)
            label = strength_label(trial.strength) if trial.strength else name
            group = name if trial.strength else REFERENCE if is_reference(objective) else START
            out.append(PictureColumn(f"gradient.{trial.id}", group, label, trial.id, regime_label(trial)))
    return out


def column_groups(shown: Sequence[PictureColumn]) -> list[tuple[str, int]]:
    """(group, number of neighbouring columns) for the upper header row."""
    out: list[tuple[str, int]] = []
    for column in shown:
        if out and out[-1][0] == column.group:
            out[-1] = (column.group, out[-1][1] + 1)
        else:
            out.append((column.group, 1))
    return out


def picture_rows(
    shown: Sequence[PictureColumn], pictures: Mapping[str, np.ndarray], classes: Sequence[str]
) -> tuple[list[tuple[str, list[PictureCell]]], int]:
    """Rows of (class name, cells), and the side in pixels at which pictures are drawn."""
    m, channels, height, width = pictures["image"][:ROWS].shape
    side = max(height, width)
    limit = int((PIXEL_BUDGET / max(1, m * len(shown) * (2 if channels == 3 else 1))) ** 0.5)
    rows = []
    for i in range(m):
        label = str(classes[int(pictures["labels"][i])])
        cells = [picture_cell(column, pictures[column.name][i], i, label, min(side, limit)) for column in shown]
        rows.append((label, cells))
    return rows, min(side, limit)


def picture_cell(column: PictureColumn, picture: np.ndarray, index: int, label: str, limit: int) -> PictureCell:
    """One picture with its texts for screen readers and for the enlarged view."""
    where = f"test picture {index + 1}, {label}"
    if column.name == "image":
        return PictureCell(data_uri(photograph(picture), limit), "", f"Image: {where}", f"{label}: the image")
    own = column.name.startswith("gradient.")
    kind, what = ("gradient,", column.heading) if own else ("target,", column.note)
    regime = f" ({column.regime})" if column.regime else ""
    text, caption = f"{capital(kind)} {what}: {where}", f"{label}: {kind} {what}{regime}"
    picture = picture.astype(np.float64)
    if not np.isfinite(picture).all() or not picture.any():
        return PictureCell("", "", f"{text}: no gradient", f"{caption}: no gradient")
    coloured = data_uri(signed_colour(picture), limit) if len(picture) == 3 else ""
    return PictureCell(data_uri(signed(picture), limit), coloured, text, caption)


def model_pictures(
    pictures: Mapping[str, Mapping[str, np.ndarray]], classes: Sequence[str]
) -> tuple[PictureGrid, list[str]] | None:
    """The pictures of all models that kept the same images as the first one, and the labels of the others."""
    whole = {label: own for label, own in pictures.items() if {"image", "labels", "gradient"} <= own.keys()}
    if not whole:
        return None
    first = next(iter(whole.values()))
    images = first["image"]
    columns = data_columns([name for name in TARGETS if _fits(first.get(name), images)])
    shown = {column.name: first[column.name] for column in columns} | {"labels": first["labels"]}
    left_out = [label for label in pictures if label not in whole]
    for label, own in whole.items():
        if np.array_equal(own["image"], images) and _fits(own["gradient"], images):
            columns.append(PictureColumn(f"gradient.{label}", "gradients", label, label))
            shown[f"gradient.{label}"] = own["gradient"]
        else:
            left_out.append(label)
    return PictureGrid.of(columns, shown, classes), left_out


def _fits(picture: np.ndarray | None, images: np.ndarray) -> bool:
    """Whether there is a picture for each image."""
    return picture is not None and picture.shape == images.shape
