"""What a page shows of a score's examination: its error beside closed forms, and pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from tangency.report.canvas import COLOURS, INK, SOFT, STYLE, new_figure
from tangency.report.glossary import SHORT_SCORES
from tangency.report.pictures import data_uri, photograph

_SIDE = 112  # pixels that a picture of a sheet is at most drawn with
_SHOWN = 40  # samples on the page


def trusted(summary: Mapping[str, Any], pictures: Mapping[str, np.ndarray], figure: Any = None) -> dict[str, Any]:
    """What templates show of an examination."""
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
    """Rows of the picture table: the clean images, then noisy and denoised ones of every σ."""
    rows = [{"name": "clean", "cells": [_uri(p) for p in pictures["clean"]]}]
    for level in levels:
        key = f"{level['sigma']:g}"
        rows.append({"name": f"σ = {key}", "cells": [_uri(p) for p in pictures[f"noisy.{key}"]]})
        rows.append({"name": "D(x; σ)", "cells": [_uri(p) for p in pictures[f"denoised.{key}"]]})
    return rows


def _sampled(pictures: Mapping[str, np.ndarray]) -> list[dict[str, str]]:
    if "samples" not in pictures:
        return []
    pairs = zip(pictures["samples"][:_SHOWN], pictures["neighbours"][:_SHOWN], strict=True)
    return [{"sample": _uri(sample), "neighbour": _uri(neighbour)} for sample, neighbour in pairs]


def _uri(picture: np.ndarray) -> str:
    return data_uri(photograph(picture), _SIDE)


def error_figure(summary: Mapping[str, Any]) -> Any:
    """Denoising error over σ² against σ, of the score and of every closed form."""
    import matplotlib as mpl

    levels = summary["noise_levels"]
    sigma = [level["sigma"] for level in levels]
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(1, 1, 2.6)
        ax = axes[0, 0]
        for number, name in enumerate(levels[0]["baselines"]):
            values = [level["baselines"][name]["mean"] / level["sigma"] ** 2 for level in levels]
            style: dict[str, Any] = {"color": COLOURS[number + 1], "linestyle": "--", "marker": "o", "markersize": 3}
            style |= {"color": SOFT, "linestyle": "-"} if name == "exact" else {}
            ax.plot(sigma, values, label=SHORT_SCORES.get(name, name), **style)
        ends = ("mean", "low", "high")
        own = np.array([[level["mse"][end] / level["sigma"] ** 2 for end in ends] for level in levels])
        ax.fill_between(sigma, own[:, 1], own[:, 2], color=COLOURS[0], alpha=0.2, linewidth=0)
        ax.plot(sigma, own[:, 0], marker="o", color=COLOURS[0], linewidth=2, label="this score")
        ax.axhline(1.0, color=INK, linewidth=0.6, linestyle=":", label="doing nothing")
        ax.set(xscale="log", yscale="log", xlabel="σ, in [0, 1] pixel units", ylabel="mean squared error / σ²")
        ax.set_xticks(sigma, [f"{s:g}" for s in sigma])
        ax.minorticks_off()
        ax.legend(ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def png_uri(figure: Any) -> Any:
    """The figure as a PNG data URI of twice the size it is shown at."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=220)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
