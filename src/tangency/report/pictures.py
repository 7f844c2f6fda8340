"""The picture grid: images and signed gradients as PNG data URIs that read on a light and on a dark page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tangency.report.glossary import BAYES, REFERENCES, TARGETS, objective_name
from tangency.report.words import capital, regime_label, strength_label

QUANTILE = 0.999  # of |gradient| in a picture: the value drawn at full colour
POSITIVE, NEGATIVE = (178, 24, 43), (33, 102, 172)  # red and blue that colour-blind readers can tell apart
START, REFERENCE = "start", "references"  # groups of the trials without a strength: standard, and never trained
UNNAMED = ("data", "targets", START, REFERENCE)  # groups whose labels stand alone
PIXEL_BUDGET = 1_200_000  # pixels of all pictures together, so that the page stays a few MB


@dataclass(frozen=True)
class Column:
    """One column of the grid: a name of pictures.safetensors with its heading."""

    name: str
    group: str
    label: str
    note: str
    regime: str = ""


@dataclass(frozen=True)
class Cell:
    """One picture: PNG data URI (empty where there is none), a colour version if it has channels, and its text."""

    source: str
    coloured: str
    text: str
    caption: str


def columns(trials: Sequence[Mapping[str, Any]], held: Mapping[str, np.ndarray]) -> list[Column]:
    """Image, targets, the Bayes rule, then one column per trial of the first seed that kept gradients."""
    out = [Column("image", "data", "image", "the test image")]
    out += [Column(name, "targets", TARGETS[name][0], TARGETS[name][1]) for name in TARGETS if name in held]
    kept = [trial for trial in trials if f"gradient.{trial['id']}" in held]
    seeds = {trial["seed"] for trial in kept}
    for trial in kept:
        objective = trial["objective"]
        if trial["seed"] == min(seeds) or objective == BAYES:  # of which there is one, for all seeds
            name = objective_name(objective)
            label = strength_label(trial["strength"]) if trial["strength"] else name
            group = name if trial["strength"] else REFERENCE if objective in REFERENCES else START
            out.append(Column(f"gradient.{trial['id']}", group, label, trial["id"], regime_label(trial)))
    return out


def groups(shown: Sequence[Column]) -> list[tuple[str, int]]:
    """Neighbouring columns of one group with how many they are, for the upper header row."""
    out: list[tuple[str, int]] = []
    for column in shown:
        if out and out[-1][0] == column.group:
            out[-1] = (column.group, out[-1][1] + 1)
        else:
            out.append((column.group, 1))
    return out


def grid(
    shown: Sequence[Column], held: Mapping[str, np.ndarray], classes: Sequence[str]
) -> tuple[list[tuple[str, list[Cell]]], int]:
    """Rows of (class name, cells), and the side in pixels at which pictures are drawn."""
    m, channels, height, width = held["image"].shape
    side = max(height, width)
    limit = int((PIXEL_BUDGET / max(1, m * len(shown) * (2 if channels == 3 else 1))) ** 0.5)
    rows = []
    for i in range(m):
        label = str(classes[int(held["labels"][i])])
        cells = [cell(column, held[column.name][i], i, label, min(side, limit)) for column in shown]
        rows.append((label, cells))
    return rows, min(side, limit)


def cell(column: Column, picture: np.ndarray, index: int, label: str, limit: int) -> Cell:
    """One picture with what a screen reader and the enlarged view say about it."""
    where = f"test picture {index + 1}, {label}"
    if column.name == "image":
        return Cell(data_uri(photograph(picture), limit), "", f"Image: {where}", f"{label}: the image")
    trial = column.label if column.group in UNNAMED else f"{column.group} {column.label}"
    own = column.name.startswith("gradient.")
    kind, what = ("gradient,", trial) if own else ("target,", column.note)
    regime = f" ({column.regime})" if column.regime else ""
    text, caption = f"{capital(kind)} {what}: {where}", f"{label}: {kind} {what}{regime}"
    picture = picture.astype(np.float64)
    if not np.isfinite(picture).all() or not picture.any():
        return Cell("", "", f"{text}: no gradient", f"{caption}: no gradient")
    coloured = data_uri(signed_colour(picture), limit) if len(picture) == 3 else ""
    return Cell(data_uri(signed(picture), limit), coloured, text, caption)


def photograph(image: np.ndarray) -> np.ndarray:
    """(C, H, W) in [0, 1] to (H, W, 3) bytes; other channel counts than 3 are averaged to grey."""
    pixels = image if len(image) == 3 else np.repeat(image.mean(0, keepdims=True), 3, axis=0)
    return np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def scale_of(values: np.ndarray) -> float:
    """The 99.9th percentile of |values|; the maximum where that is zero."""
    size = np.abs(values)
    return float(np.quantile(size, QUANTILE)) or float(size.max())


def signed(gradient: np.ndarray) -> np.ndarray:
    """(C, H, W) to (H, W, 4) bytes: red above zero, blue below, opacity |g| / scale, so zero is the page itself.

    Channels are averaged; the scale is symmetric, the 99.9th percentile of |g| of this picture.
    """
    values = gradient.mean(0)
    if not values.any():
        return np.zeros((*values.shape, 4), np.uint8)
    values = np.clip(values / scale_of(values), -1, 1)
    colour = np.where(values[..., None] > 0, np.array(POSITIVE), np.array(NEGATIVE))
    return np.concatenate([colour, np.round(np.abs(values) * 255)[..., None]], axis=-1).astype(np.uint8)


def signed_colour(gradient: np.ndarray) -> np.ndarray:
    """(3, H, W) to (H, W, 3) bytes: mid-grey is zero, channels keep their colours, same scale rule."""
    values = np.clip(gradient / scale_of(gradient), -1, 1)
    return np.round(127.5 + 127.5 * values).astype(np.uint8).transpose(1, 2, 0)


def data_uri(pixels: np.ndarray, limit: int) -> str:
    """(H, W, 3 or 4) bytes to a PNG data URI, shrunk so that no side exceeds `limit`."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    if max(picture.size) > limit:
        picture.thumbnail((limit, limit), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
