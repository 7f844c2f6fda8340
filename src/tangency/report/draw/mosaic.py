"""Pictures side by side in one pair of axes, as one image: sharp in print, and quick to draw in any number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.report.draw.canvas import COLUMN, INK, SMALL, SOFT, WIDTH, new_figure
from tangency.report.draw.pixels import photograph, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE = 160  # pixels of a side of a picture at most: 300 an inch where seven stand in a text width
_GAP = 0.07  # between pictures, of their width
_EMPTY = 236  # grey of a picture that is not there


@dataclass(frozen=True)
class MosaicColumn:
    """A column of a mosaic.

    Args:
        heading: above it.
        tiles: (H, W, 3) bytes from the top; None for a picture that is not there.
        colour: of a bar over it; "" for none.
    """

    heading: str
    tiles: list[np.ndarray | None]
    colour: str = ""


def photo_tiles(pictures: np.ndarray) -> list[np.ndarray | None]:
    """(N, C, H, W) in [0, 1] as tiles."""
    return [photograph(picture) for picture in pictures]


def signed_tiles(pictures: np.ndarray) -> list[np.ndarray | None]:
    """(N, C, H, W) with signs as tiles, red above and blue below zero; None for one that is zero or not finite."""
    return [_signed(np.asarray(picture, np.float64)) for picture in pictures]


def _signed(picture: np.ndarray) -> np.ndarray | None:
    if not np.isfinite(picture).all() or not picture.mean(0).any():
        return None
    pixels = signed(picture).astype(float)
    opacity = pixels[..., 3:] / 255
    whole: np.ndarray = np.round(255 * (1 - opacity) + opacity * pixels[..., :3]).astype(np.uint8)
    return whole


def draw_mosaic(at: Axes, columns: Sequence[MosaicColumn], rows: Sequence[str] = ()) -> None:
    """Columns of pictures with their headings, and labels of the rows, if any, at the left."""
    shapes = [tile.shape[:2] for column in columns for tile in column.tiles if tile is not None]
    height, width = _reduced(shapes[0]) if shapes else (1, 1)
    gap = max(1, round(_GAP * width))
    count = len(columns[0].tiles)
    sheet = np.full((count * (height + gap) - gap, len(columns) * (width + gap) - gap, 3), 255, np.uint8)
    missing = np.full((height, width, 3), _EMPTY, np.uint8)
    for place, column in enumerate(columns):
        left = place * (width + gap)
        for row, tile in enumerate(column.tiles):
            top = row * (height + gap)
            sheet[top : top + height, left : left + width] = missing if tile is None else _fitted(tile, height, width)
        middle = left + width / 2 - 0.5
        style: dict[str, Any] = {"clip_on": False, "solid_capstyle": "butt"}
        if column.colour:
            at.plot([left - 0.5, left + width - 0.5], [-gap - 0.5] * 2, color=column.colour, linewidth=2.5, **style)
        at.text(middle, -2 * gap, column.heading, ha="center", va="bottom", fontsize=SMALL + 0.5, color=INK)
    at.imshow(sheet, interpolation="none")
    for row, label in enumerate(rows):
        at.text(-gap, row * (height + gap) + height / 2, label, ha="right", va="center", fontsize=SMALL, color=SOFT)
    at.set_axis_off()


def mosaic_figure(columns: Sequence[MosaicColumn], rows: Sequence[str] = (), headings: float = 0.35) -> Figure:
    """A figure of the column width, or of the text width where there are many columns, that holds one mosaic.

    Args:
        columns: of pictures.
        rows: labels.
        headings: inches that the headings take.
    """
    width = COLUMN if len(columns) <= 6 else WIDTH
    tile = next((tile for column in columns for tile in column.tiles if tile is not None), np.zeros((1, 1, 3)))
    labels = 0.55 if rows else 0.0
    side = (width - labels - 0.1) / (len(columns) * (1 + _GAP))
    height = len(columns[0].tiles) * side * (tile.shape[0] / tile.shape[1] + _GAP) + headings + 0.1
    figure, axes = new_figure(1, 1, height, width)
    draw_mosaic(axes[0, 0], columns, rows)
    return figure


def _reduced(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width so that no side exceeds the largest one."""
    share = min(1.0, _SIDE / max(shape[0], shape[1]))
    return max(1, round(shape[0] * share)), max(1, round(shape[1] * share))


def _fitted(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """A tile of this size, by means over pixels where it is larger."""
    from PIL import Image

    if tile.shape[:2] == (height, width):
        return tile
    return np.asarray(Image.fromarray(tile).resize((width, height), Image.Resampling.BOX))
