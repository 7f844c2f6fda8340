"""The page of a generation task: pictures by who made them, how they came about, and what judges say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tangency.evaluate.entries import MeasureEntry
from tangency.report.draw.pixels import data_uri, shrunk
from tangency.report.page.blocks import photograph_block
from tangency.report.page.html import environment, resource
from tangency.report.text.generation import SOURCE_NAMES, accuracy_words

_PLAYED = 16  # pictures of a trajectory
_BUDGET = 3_000_000  # bytes of its frames


def render_generation(
    summary: Mapping[str, Any],
    tiles: Mapping[str, list[np.ndarray]],
    labels: np.ndarray,
    frames: np.ndarray,
    trajectory: str,
) -> str:
    """The page as HTML text.

    Args:
        summary: of `generate_with`.
        tiles: the first pictures of each source, (H, W, 3) bytes.
        labels: of all pictures; negative for none.
        frames: (F, N, C, H, W) iterates in [0, 1].
        trajectory: name of the animation's file beside the page; "" where there is none.
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
        "trajectory": trajectory,
        "steps": summary["frame_steps"] if trajectory else [],
        "frames": photograph_block(_few(frames)) if trajectory else "",
        "style": resource("templates/page.css"),
        "script": resource("page/bundle/player.js"),
    }
    return environment().get_template("generation.html.j2").render(context)


def _few(frames: np.ndarray) -> np.ndarray:
    """The first pictures of the frames, drawn smaller where they are too large for a page."""
    few = frames[:, :_PLAYED]
    factor = int(np.ceil(np.sqrt(few.size / _BUDGET)))
    flat = shrunk(few.reshape(-1, *few.shape[2:]), factor)
    return flat.reshape(*few.shape[:2], *flat.shape[1:])
