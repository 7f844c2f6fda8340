"""The page of a score's examination: the verdict, its error beside closed forms, and what it draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tangency.errors import RunError
from tangency.files import atomic, write_json
from tangency.report import glossary
from tangency.report.page import environment, resource
from tangency.report.pictures import photograph
from tangency.report.trusted import error_figure, trusted


def refuse_file(out: Path) -> None:
    """Raise where the output folder is a file."""
    if out.exists() and not out.is_dir():
        raise RunError(f"output '{out}': got a file, expected a folder or a name that is free; use --out.")


def write_score_page(summary: Mapping[str, Any], pictures: Mapping[str, np.ndarray], out: Path) -> Path:
    """Write score.json, index.html and figures of an examination.

    Args:
        summary: of `evaluate_score`.
        pictures: "clean", "noisy.σ", "denoised.σ", and "samples", "labels", "neighbours" where some were drawn.
        out: folder.

    Returns:
        The path of the page.
    """
    write_json(out / "score.json", summary)
    figure = error_figure(summary)
    for ending in ("pdf", "png"):
        with atomic(out / "figures" / f"denoising.{ending}") as temporary:
            undated = {"CreationDate": None} if ending == "pdf" else None
            figure.savefig(temporary, format=ending, dpi=200, metadata=undated)
    page = out / "index.html"
    with atomic(page) as temporary:
        temporary.write_text(_render(summary, pictures, figure), encoding="utf-8")
    return page


def _render(summary: Mapping[str, Any], pictures: Mapping[str, np.ndarray], figure: Any) -> str:
    template = environment().get_template("score.html.j2")
    return template.render(
        summary=summary,
        trusted=trusted(summary, pictures, figure),
        glossary=glossary,
        style=resource("templates/page.css"),
    )


def write_sheet(pictures: np.ndarray, path: Path, columns: int = 8) -> None:
    """(N, C, H, W) in [0, 1] as one PNG, row by row."""
    from PIL import Image

    tiles = np.stack([photograph(picture) for picture in pictures])
    empty = -len(tiles) % columns
    tiles = np.pad(tiles, ((0, empty), (1, 1), (1, 1), (0, 0)), constant_values=255)
    rows, height, width = len(tiles) // columns, *tiles.shape[1:3]
    sheet = tiles.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    scale = max(1, 96 // max(height, width))
    with atomic(path) as temporary:
        picture = Image.fromarray(sheet)
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(temporary, "PNG")
