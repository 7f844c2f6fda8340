"""The examination of a score, on its own page and on a study's: errors beside closed forms, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.report.draw.canvas import StillFigure, still_figure
from tangency.report.draw.pixels import data_uri, photograph
from tangency.report.draw.score import error_figure, error_table
from tangency.report.page.html import environment, resource
from tangency.report.text import glossary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 112  # pixels of a side of a picture at most
_SHOWN = 40  # samples on the page


@dataclass(frozen=True)
class ScorePanel:
    """What the score templates show.

    Args:
        levels: "noise_levels" of `evaluate_score`.
        baselines: names of the closed forms.
        figure: the error beside closed forms, with its numbers.
        denoised: (name, pictures) of the clean images, then of the noisy and the denoised ones at every σ.
        samples: (sample, nearest training image); empty where nothing was drawn.
        exact: whether the exact law was there to compare with.
        classes: whether the score knows classes.
    """

    levels: list[Mapping[str, Any]]
    baselines: list[str]
    figure: StillFigure
    denoised: list[tuple[str, list[str]]]
    samples: list[tuple[str, str]]
    exact: bool
    classes: bool


def examination(
    summary: Mapping[str, Any], pictures: Mapping[str, np.ndarray], figure: Figure | None = None
) -> ScorePanel:
    """The examination that `evaluate_score` made, with its pictures; the figure is drawn where none is given."""
    levels = summary["noise_levels"]
    denoised = [("clean", "clean")]
    for key in (f"{level['sigma']:g}" for level in levels):
        denoised += [(f"σ = {key}", f"noisy.{key}"), ("D(x; σ)", f"denoised.{key}")]
    pairs = zip(pictures.get("samples", [])[:_SHOWN], pictures.get("neighbours", [])[:_SHOWN], strict=True)
    return ScorePanel(
        levels=levels,
        baselines=list(levels[0]["baselines"]),
        figure=still_figure(figure or error_figure(summary), *error_table(summary)),
        denoised=[(name, [_uri(picture) for picture in pictures[key]]) for name, key in denoised],
        samples=[(_uri(sample), _uri(neighbour)) for sample, neighbour in pairs],
        exact=any(level["score_error"] for level in levels),
        classes=any(level["bayes_gradient"] for level in levels),
    )


def _uri(picture: np.ndarray) -> str:
    return data_uri(photograph(picture), _SIDE)


def render_score(summary: Mapping[str, Any], pictures: Mapping[str, np.ndarray], figure: Figure) -> str:
    """The page as HTML text; the figure is that of the error beside closed forms."""
    template = environment().get_template("score.html.j2")
    return template.render(
        summary=summary,
        examined=examination(summary, pictures, figure),
        glossary=glossary,
        style=resource("templates/page.css"),
    )
