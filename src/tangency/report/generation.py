"""The page of a generation task: pictures by who made them, how they came about, and what judges say."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tangency.files import atomic
from tangency.report.generated import accuracy_words
from tangency.report.page import environment, resource
from tangency.report.pictures import data_uri, photograph

_SHOWN = 10  # pictures of each source in the grid and on the page
_ANIMATED = 16  # pictures of the animation
_SIDE = 96  # pixels that a small picture is enlarged to, about
_MILLISECONDS, _LAST = 120, 1500  # that a frame of the animation is shown
NAMES = {
    "truth": "truth",
    "input": "input",
    "real": "real",
    "classifier": "classifier",
    "bayes": "Bayes rule",
    "mixture": "mixture",
    "score": "score",
    "score_guided": "guided score",
}
ANIMATIONS = ("gif", "apng")


def write_generation(
    summary: Mapping[str, Any], arrays: Mapping[str, np.ndarray], out: Path, animation: str = "gif"
) -> dict[str, Path]:
    """Write grid.png, one sheet for each source, the trajectory as an animation, and index.html.

    Args:
        summary: of `generate_with`.
        arrays: source to (N, C, H, W) in [0, 1], "frames" (F, N, C, H, W), "labels" (N,).
        out: folder.
        animation: "gif" or "apng".

    Returns:
        What was written: "grid", "page", and "trajectory" where there are frames.
    """
    sources = [source for source in NAMES if source in arrays]
    rows = [[photograph(picture) for picture in arrays[source][:_SHOWN]] for source in sources]
    paths = {"grid": out / "grid.png", "page": out / "index.html"}
    _save(_sheet([tile for row in rows for tile in row], len(rows[0])), paths["grid"])
    for source in sources:
        _save(_sheet([photograph(picture) for picture in arrays[source][:256]], 16), out / "pictures" / f"{source}.png")
    frames = arrays["frames"]
    if len(frames) > 1:
        paths["trajectory"] = out / f"trajectory.{'gif' if animation == 'gif' else 'png'}"
        _animate(frames[:, :_ANIMATED], paths["trajectory"])
    with atomic(paths["page"]) as temporary:
        temporary.write_text(_render(summary, sources, rows, arrays["labels"], paths), encoding="utf-8")
    return paths


def _sheet(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """(H, W, 3) bytes of a sheet with white lines between pictures, each enlarged by a whole factor."""
    columns = min(columns, len(tiles))
    stacked = np.stack(tiles)
    scale = max(1, _SIDE // max(stacked.shape[1:3]))
    stacked = stacked.repeat(scale, axis=1).repeat(scale, axis=2)
    stacked = np.pad(stacked, ((0, -len(stacked) % columns), (1, 1), (1, 1), (0, 0)), constant_values=255)
    height, width = stacked.shape[1:3]
    cells = stacked.reshape(-1, columns, height, width, 3).swapaxes(1, 2)
    return cells.reshape(-1, columns * width, 3)


def _save(pixels: np.ndarray, path: Path) -> None:
    from PIL import Image

    with atomic(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG", optimize=True)


def _animate(frames: np.ndarray, path: Path) -> None:
    """(F, N, C, H, W) as an endless animation whose last frame stays longer."""
    from PIL import Image

    columns = max(1, round(frames.shape[1] ** 0.5))
    sheets = [Image.fromarray(_sheet([photograph(picture) for picture in frame], columns)) for frame in frames]
    times = [_MILLISECONDS] * (len(sheets) - 1) + [_LAST]
    options: dict[str, Any] = {"save_all": True, "append_images": sheets[1:], "duration": times, "loop": 0}
    buffer = io.BytesIO()
    sheets[0].save(buffer, "GIF" if path.suffix == ".gif" else "PNG", **options)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _render(
    summary: Mapping[str, Any],
    sources: list[str],
    rows: list[list[np.ndarray]],
    labels: np.ndarray,
    paths: Mapping[str, Path],
) -> str:
    import base64

    classes = summary["classes"]
    shown = [str(classes[int(label)]) if label >= 0 else "" for label in labels[:_SHOWN]]
    pictures = [
        {
            "name": NAMES[source],
            "how": summary["sources"][source]["how"],
            "cells": [data_uri(tile, 256) for tile in row],
        }
        for source, row in zip(sources, rows, strict=True)
    ]
    measures = list(dict.fromkeys(m for source in sources for m in summary["sources"][source]["measures"]))
    motion = ""
    if "trajectory" in paths:
        kind = "gif" if paths["trajectory"].suffix == ".gif" else "png"
        motion = f"data:image/{kind};base64," + base64.b64encode(paths["trajectory"].read_bytes()).decode()
    return (
        environment()
        .get_template("generation.html.j2")
        .render(
            summary=summary,
            sources=sources,
            names=NAMES,
            judge=accuracy_words(summary["judged_by"]["accuracy"]) if summary["judged_by"] else "",
            pictures=pictures,
            labels=shown,
            measures=measures,
            motion=motion,
            style=resource("templates/page.css"),
        )
    )
