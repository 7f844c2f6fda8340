"""Figures of the denoising error of a score, beside doing nothing and beside closed forms."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.report.draw.canvas import COLOURS, INK, SOFT, STYLE, new_figure
from tangency.report.read.run import RunFiles
from tangency.report.read.score import score_card
from tangency.report.text.glossary import SCORES, SHORT_SCORES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def score_figure(run: RunFiles) -> Figure | None:
    """Denoising error of the score beside that of doing nothing."""
    card = score_card(run.summary)
    if not card.denoising:
        return None
    sigma, mse, identity = np.array([(e.sigma, e.mse, e.identity) for e in card.denoising], float).T
    figure, axes = new_figure(1, 1, 2.4)
    at = axes[0, 0]
    at.loglog(sigma, identity, "--", color=SOFT, label="doing nothing, σ²")
    at.loglog(sigma, mse, "o-", color=COLOURS[0], label=SCORES.get(card.kind, card.kind))
    at.set_xlabel("σ in [0, 1] pixel units")
    at.set_ylabel("mean squared error per pixel")
    at.legend()
    return figure


def error_figure(summary: Mapping[str, Any]) -> Figure:
    """Denoising error over σ² against σ, of the score and of every closed form."""
    import matplotlib as mpl

    levels = summary["noise_levels"]
    sigma = [level["sigma"] for level in levels]
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(1, 1, 2.6)
        ax = axes[0, 0]
        for colour, name in zip(itertools.cycle(COLOURS[1:]), levels[0]["baselines"], strict=False):
            values = [level["baselines"][name]["mean"] / level["sigma"] ** 2 for level in levels]
            style: dict[str, Any] = {"color": colour, "linestyle": "--", "marker": "o", "markersize": 3}
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


def error_table(summary: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of what `error_figure` draws: errors over σ², with 95 % intervals."""
    rows = []
    for level in summary["noise_levels"]:
        square = level["sigma"] ** 2
        for name, error in {"this score": level["mse"], **level["baselines"]}.items():
            ends = [error.get(end) for end in ("mean", "low", "high")]
            rows.append([level["sigma"], name, *(end if end is None else end / square for end in ends)])
    return ["sigma", "score", "mse_over_sigma2", "low", "high"], rows
