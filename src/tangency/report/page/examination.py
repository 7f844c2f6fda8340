"""The examination of a score, for its own page and for a study's: errors beside closed forms, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tangency.report.draw.canvas import png_uri
from tangency.report.draw.pixels import data_uri, photograph
from tangency.report.draw.score import error_figure

_SIDE = 112  # pixels of a side of a picture at most
_SHOWN = 40  # samples on the page


def examination(summary: Mapping[str, Any], pictures: Mapping[str, np.ndarray], figure: Any = None) -> dict[str, Any]:
    """The context of score_table, score_sheet and score templates."""
    levels = summary["noise_levels"]
    return {
        "levels": levels,
        "baselines": list(levels[0]["baselines"]),
        "figure": png_uri(figure or error_figure(summary)),
        "denoised": _denoised(levels, pictures),
        "samples": _sampled(pictures),
        "exact": any(level["score_error"] for level in levels),
        "classes": any(level["bayes_gradient"] for level in levels),
    }


def _denoised(levels: list[Mapping[str, Any]], pictures: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Rows of the picture table: the clean images, then the noisy and the denoised ones at every σ."""
    rows = [{"name": "clean", "cells": [_uri(p) for p in pictures["clean"]]}]
    for level in levels:
        key = f"{level['sigma']:g}"
        rows.append({"name": f"σ = {key}", "cells": [_uri(p) for p in pictures[f"noisy.{key}"]]})
        rows.append({"name": "D(x; σ)", "cells": [_uri(p) for p in pictures[f"denoised.{key}"]]})
    return rows


def _sampled(pictures: Mapping[str, np.ndarray]) -> list[dict[str, str]]:
    """Samples beside their nearest training images; none where nothing was drawn."""
    if "samples" not in pictures:
        return []
    pairs = zip(pictures["samples"][:_SHOWN], pictures["neighbours"][:_SHOWN], strict=True)
    return [{"sample": _uri(sample), "neighbour": _uri(neighbour)} for sample, neighbour in pairs]


def _uri(picture: np.ndarray) -> str:
    return data_uri(photograph(picture), _SIDE)
