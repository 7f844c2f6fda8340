"""The three regimes in one figure: where gradients of each point, and how accuracy and alignment rise and fall."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.measures.keys import FRACTION
from tangency.report.draw.canvas import COLOURS, INK, SMALL, SOFT, legend_below, lines_by_label, new_figure
from tangency.report.draw.curves import REGIME_COLOURS, draw_curve, label_strengths, positions, series, shade
from tangency.report.draw.gallery import best_cell
from tangency.report.read.run import RunFiles
from tangency.report.read.sweep import estimators
from tangency.report.read.trials import column, swept
from tangency.report.text.glossary import REGIMES, objective_name
from tangency.report.text.numbers import capital
from tangency.report.text.panels import default_alignment
from tangency.report.text.trials import steps_of, strength_label
from tangency.study.summary.sweep_entries import CellEntry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ARROWS = 15  # images of which gradients are drawn, at even shares of F²


@dataclass(frozen=True)
class RegimeFan:
    """The gradients of one recipe as angles to the tangent space.

    Args:
        cell: the recipe.
        trial: the network.
        fractions: F² of its images that have one, ascending.
        chance: F² of a random direction, k/d; None where it is not known.
    """

    cell: CellEntry
    trial: str
    fractions: np.ndarray
    chance: float | None


def regimes_figure(run: RunFiles) -> Figure | None:
    """A fan of gradients for each regime of one objective, and accuracy, alignment and F² against its strength."""
    objective = regimes_objective(run)
    fans = regime_fans(run, objective) if objective else []
    if not fans:
        return None
    figure, axes = new_figure(
        1, len(fans) + 1, 2.6, gridspec_kw={"width_ratios": [1.0] * len(fans) + [1.25 + 0.6 * (3 - len(fans))]}
    )
    for at, fan in zip(axes[0], fans, strict=False):
        draw_fan(at, fan)
    draw_shares(axes[0, -1], run, objective)
    axes[0, 0].set_ylabel("normal space")
    legend_below(figure, lines_by_label(axes.flat), 4)
    return figure


def regimes_objective(run: RunFiles) -> str:
    """The objective whose recipes are of most regimes, the headline's among equals; "" where none is labelled."""
    headline = run.summary.headline
    favoured = next((cell.objective for cell in run.summary.cells if headline and cell.id == headline.recipe), "")

    def spread(objective: str) -> tuple[int, bool]:
        labels = {cell.regime for cell in column(run.summary.cells, objective)}
        return len(labels & set(REGIME_COLOURS)), objective == favoured

    objectives = swept(run.summary.trials)
    best = max(objectives, key=spread, default="")
    return best if best and spread(best)[0] else ""


def regime_fans(run: RunFiles, objective: str) -> list[RegimeFan]:
    """One recipe of each regime that an objective has: the standard network, that of the best L, the strongest."""
    own = sorted(column(run.summary.cells, objective), key=lambda cell: cell.strength)
    fans = []
    for regime in REGIME_COLOURS:
        cells = [cell for cell in own if cell.regime == regime]
        if cells:
            ends = {"weak": cells[0], "excessive": cells[-1]}
            fan = _fan(run, ends.get(regime) or best_cell(run, cells) or cells[0])
            fans += [fan] if fan else []
    return fans


def _fan(run: RunFiles, cell: CellEntry) -> RegimeFan | None:
    import polars

    trials = (t for t in run.summary.trials if (t.objective, t.strength) == (cell.objective, cell.strength))
    trial = next((t for t in trials if t.measures), None)
    if trial is None or FRACTION not in run.rows.columns:
        return None
    values = run.rows.filter(polars.col("trial") == trial.id)[FRACTION].to_numpy()
    entry = trial.measures.get(FRACTION)
    finite = np.sort(values[np.isfinite(values)])
    return RegimeFan(cell, trial.id, finite, entry.chance if entry else None) if len(finite) else None


def draw_fan(at: Axes, fan: RegimeFan) -> None:
    """Gradients of unit length as arrows: along the tangent space to the right, F, and normal to it upwards."""
    regime = fan.cell.regime or ""
    colour = REGIME_COLOURS.get(regime, SOFT)
    for share in np.linspace(0.03, 0.97, _ARROWS):
        _arrow(at, float(np.quantile(fan.fractions, share)), color=colour, linewidth=0.7, alpha=0.45)
    _arrow(at, float(np.median(fan.fractions)), color=colour, linewidth=2.2, label=None)
    if fan.chance is not None:
        _arrow(at, fan.chance, color=INK, linewidth=0.9, linestyle=":", label="random direction")
    turn = np.linspace(0, math.pi / 2, 60)
    at.plot(np.cos(turn), np.sin(turn), color=SOFT, linewidth=0.5)
    at.set(xlim=(0, 1.06), ylim=(0, 1.06), aspect="equal", xticks=[], yticks=[], xlabel="tangent space")
    name = objective_name(fan.cell.objective)
    strength = f" {strength_label(fan.cell.strength)}" if fan.cell.strength else ""
    label = REGIMES[regime][0] if regime in REGIMES else "no label"
    at.set_title(f"{capital(label)}\n{name}{strength}", fontsize=7.5)
    text = f"median F² {np.median(fan.fractions):.2f}"
    place: dict[str, Any] = {"ha": "right", "va": "bottom", "transform": at.transAxes}
    at.text(0.99, 0.02, text, fontsize=SMALL + 0.5, color=INK, bbox={"color": "white", "alpha": 0.7, "pad": 1}, **place)


def _arrow(at: Axes, fraction: float, label: str | None = None, **style: Any) -> None:
    """A line from the origin at the angle arccos F to the tangent space."""
    inside = min(max(fraction, 0.0), 1.0)
    at.plot([0, math.sqrt(inside)], [0, math.sqrt(1 - inside)], label=label, solid_capstyle="butt", **style)


def draw_shares(at: Axes, run: RunFiles, objective: str) -> None:
    """Accuracy, alignment and F² of an objective against strength, each over its largest value, regimes shaded."""
    steps = steps_of(run.summary, objective)
    place = positions(steps)
    shade(at, steps, place)
    alignment = default_alignment(run.summary.trials)
    curves = {"accuracy": ("accuracy", "o"), alignment: ("alignment", "s"), FRACTION: ("F²", "^")}
    for colour, (key, (name, marker)) in zip(COLOURS, curves.items(), strict=False):
        points = series(run.summary.cells, objective, key)
        top = max((mean for _, mean, _, _ in points), default=0.0)
        if top > 0:
            shares = [(strength, *(value / top for value in values)) for strength, *values in points]
            draw_curve(at, shares, place, color=colour, marker=marker, label=name)  # type: ignore[arg-type]
    label_strengths(at, steps, place)
    at.set(xlabel=f"strength of {objective_name(objective)}", ylabel="share of its maximum", ylim=(0, None))
    at.set_title(_ground(run), fontsize=7)


def _ground(run: RunFiles) -> str:
    """Whether the manifold is known, and by what it is estimated otherwise."""
    name = next(iter(estimators(run.summary).values()), run.summary.score.get("kind", ""))
    known = run.summary.world is not None and name == "exact"
    return "tangent spaces: exact" if known else f"tangent spaces: estimated ({name})"
