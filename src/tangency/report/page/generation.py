"""The page of a generation task: pictures by who made them, how they came about, and what judges say."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tangency.evaluate.entries import MeasureEntry
from tangency.report.draw.pixels import data_uri
from tangency.report.page.html import environment, resource
from tangency.report.text.generation import SOURCE_NAMES, accuracy_words


def render_generation(
    summary: Mapping[str, Any],
    tiles: Mapping[str, list[np.ndarray]],
    labels: np.ndarray,
    trajectory: Path | None,
) -> str:
    """The page as HTML text.

    Args:
        summary: of `generate_with`.
        tiles: the first pictures of each source, (H, W, 3) bytes.
        labels: of all pictures; negative for none.
        trajectory: the animation's file, where there is one.
    """
    classes = summary["classes"]
    pictures = [
        {
            "name": SOURCE_NAMES[source],
            "how": summary["sources"][source]["how"],
            "cells": [data_uri(tile, 256) for tile in row],
        }
        for source, row in tiles.items()
    ]
    context = {
        "summary": summary,
        "sources": list(tiles),
        "names": SOURCE_NAMES,
        "judge": accuracy_words(MeasureEntry(**summary["judged_by"]["accuracy"])) if summary["judged_by"] else "",
        "pictures": pictures,
        "labels": [str(classes[int(y)]) if y >= 0 else "" for y in labels[: max(map(len, tiles.values()))]],
        "measures": list(dict.fromkeys(m for source in tiles for m in summary["sources"][source]["measures"])),
        "motion": _animation_uri(trajectory) if trajectory else "",
        "style": resource("templates/page.css"),
    }
    return environment().get_template("generation.html.j2").render(context)


def _animation_uri(path: Path) -> str:
    kind = "gif" if path.suffix == ".gif" else "png"
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()
