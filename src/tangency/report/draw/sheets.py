"""Sheets of pictures and animations as files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from tangency.files import atomic
from tangency.report.draw.pixels import photograph

_ANIMATED = 16  # pictures of an animation
_SIDE = 96  # pixels of a side to which small pictures are enlarged, about
_MILLISECONDS, _LAST = 120, 1500  # of a frame of the animation, and of the last one


def tiled(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """(H, W, 3) bytes of a sheet: tiles enlarged by a whole factor, with white lines between them."""
    columns = min(columns, len(tiles))
    stacked = np.stack(tiles)
    scale = max(1, _SIDE // max(stacked.shape[1:3]))
    stacked = stacked.repeat(scale, axis=1).repeat(scale, axis=2)
    stacked = np.pad(stacked, ((0, -len(stacked) % columns), (1, 1), (1, 1), (0, 0)), constant_values=255)
    height, width = stacked.shape[1:3]
    cells = stacked.reshape(-1, columns, height, width, 3).swapaxes(1, 2)
    return cells.reshape(-1, columns * width, 3)


def save_tiles(tiles: list[np.ndarray], columns: int, path: Path) -> None:
    """Tiles as one PNG, row by row."""
    from PIL import Image

    with atomic(path) as temporary:
        Image.fromarray(tiled(tiles, columns)).save(temporary, "PNG", optimize=True)


def save_sheet(pictures: np.ndarray, path: Path, columns: int) -> None:
    """(N, C, H, W) in [0, 1] as one PNG, row by row."""
    save_tiles([photograph(picture) for picture in pictures], columns, path)


def save_animation(frames: np.ndarray, path: Path) -> None:
    """The first pictures of (F, N, C, H, W) as an endless animation whose last frame stays longer."""
    from PIL import Image

    frames = frames[:, :_ANIMATED]
    columns = max(1, round(frames.shape[1] ** 0.5))
    sheets = [Image.fromarray(tiled([photograph(picture) for picture in frame], columns)) for frame in frames]
    times = [_MILLISECONDS] * (len(sheets) - 1) + [_LAST]
    options: dict[str, Any] = {"save_all": True, "append_images": sheets[1:], "duration": times, "loop": 0}
    buffer = io.BytesIO()
    sheets[0].save(buffer, "GIF" if path.suffix == ".gif" else "PNG", **options)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
