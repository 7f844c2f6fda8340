"""The figure of signal and distractor: relative noise robustness against σ, and robust minus standard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.report.draw.canvas import COLOURS, INK, LEVEL, MARKERS, SOFT, legend_below, lines_by_label, new_figure
from tangency.report.read.noise import NoiseCurve, noise_curves, noise_sigmas
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import BAYES, STANDARD, UNTRAINED, is_reference, swept
from tangency.report.text.trials import trial_name
from tangency.study.summary.entries import CurveEntry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def distractor_figure(run: RunFiles) -> Figure | None:
    """Ratio against σ on log axes with its simultaneous bands; beside it, minus the standard network's ratio."""
    curves = noise_curves(run.summary)
    if not curves:
        return None
    compared = any(curve.difference for curve in curves)
    names = list(dict.fromkeys(trial_name(curve.trial) for curve in curves))
    figure, axes = new_figure(1, 2 if compared else 1, 2.6 + 0.16 * -(-len(names) // 4))
    draw_ratios(axes[0, 0], run)
    if compared:
        draw_differences(axes[0, 1], run)
    legend_below(figure, lines_by_label([axes[0, 0]]))
    return figure


def draw_ratios(at: Axes, run: RunFiles) -> None:
    """Relative noise robustness of each network against σ, with bands that hold at all σ at once."""
    curves, sigmas = sorted(noise_curves(run.summary), key=order_of_drawing), noise_sigmas(run.summary)
    for curve in curves:
        draw_band(at, sigmas, curve.ratio, style_of(curve, run), len(curves))
    at.axhline(1, color=SOFT, linestyle="--", linewidth=0.8, label="chance, no difference")
    at.set_ylabel("relative noise robustness")
    label_ratio(at, curves)
    label_sigmas(at, sigmas)


def draw_differences(at: Axes, run: RunFiles) -> None:
    """The same minus the standard network's of the same seed."""
    curves, sigmas = sorted(noise_curves(run.summary), key=order_of_drawing), noise_sigmas(run.summary)
    compared = [curve for curve in curves if curve.difference]
    for curve in compared:
        if curve.difference:
            draw_band(at, sigmas, curve.difference, style_of(curve, run), len(compared))
    at.axhline(0, color=SOFT, linestyle="--", linewidth=0.8)
    at.set_ylabel("minus the standard network's")
    label_sigmas(at, sigmas)


def order_of_drawing(curve: NoiseCurve) -> int:
    """Sorts curves: references first, so that they lie below networks; then the standard network, then the others."""
    objective = curve.trial.objective
    return 0 if is_reference(objective) else 1 if objective == STANDARD else 2


def style_of(curve: NoiseCurve, run: RunFiles) -> dict[str, Any]:
    """Colour by objective, paler for smaller strengths, with a marker for each strength; references are plain lines."""
    from matplotlib.colors import to_rgb

    objective, label = curve.trial.objective, trial_name(curve.trial)
    if objective == BAYES:
        return {"color": INK, "label": label, "marker": ".", **LEVEL}
    if is_reference(objective):
        dashes = (8, 3) if objective == UNTRAINED else (2, 2)  # shorter for a filtered network
        return {"color": SOFT, "label": label, "marker": ".", "linestyle": (0, dashes), "linewidth": 0.9}
    if objective == STANDARD:
        return {"color": INK, "label": label, "marker": "o"}
    objectives = swept(run.summary.trials)
    colour = np.array(to_rgb(COLOURS[objectives.index(objective) % len(COLOURS)]))
    strengths = sorted({t.strength for t in run.summary.trials if t.objective == objective})
    marker = MARKERS[strengths.index(curve.trial.strength) % len(MARKERS)]
    pale = 0.55 * (1 - curve.shade)
    return {"color": tuple((1 - pale) * colour + pale), "label": label, "marker": marker}


def draw_band(axes: Axes, sigmas: list[float], band: CurveEntry, style: dict[str, Any], count: int) -> None:
    """A line with its band, which is paler the more there are; undefined values leave gaps."""
    mean, low, high = (np.array(end, dtype=float) for end in (band.mean, band.low, band.high))
    axes.fill_between(sigmas, low, high, color=style["color"], alpha=min(0.15, 0.7 / count), linewidth=0)
    axes.plot(sigmas, mean, markersize=3.2, **style)
    if len(sigmas) == 1:  # a band of no width
        axes.vlines(sigmas, low, high, color=style["color"], linewidth=0.8)


def label_ratio(axes: Axes, curves: list[NoiseCurve]) -> None:
    """A log axis with plain numbers, which shows a factor of 4 beyond the means at most, however wide bands are."""
    means = [value for curve in curves for value in curve.ratio.mean if value]
    lows, highs = ([v for c in curves for v in getattr(c.ratio, end) if v] for end in ("low", "high"))
    bottom = max(min([1.0, *means, *lows]), min([1.0, *means]) / 4)
    top = min(max([1.0, *means, *highs]), max([1.0, *means]) * 4)
    axes.set_yscale("log")
    axes.set_ylim(bottom / 1.15, top * 1.15)
    plain_ticks(axes.yaxis, bottom / 1.15, top * 1.15)


def label_sigmas(axes: Axes, sigmas: list[float]) -> None:
    """σ on a log axis, with plain numbers."""
    axes.set_xscale("log")
    axes.set_xlim(min(sigmas) / 1.25, max(sigmas) * 1.25)
    plain_ticks(axes.xaxis, min(sigmas) / 1.25, max(sigmas) * 1.25)
    axes.set_xlabel("σ in [0, 1] pixel units")


def plain_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks at 1, 2, 5 and their decades (over a wide range decades only); four even ones if fewer than two fit."""
    steps = (1,) if high / low > 300 else (1, 2, 5)
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**e for e in exponents for step in steps if low <= step * 10.0**e <= high]
    if len(ticks) < 2:
        ticks = [float(f"{v:.2g}") for v in np.geomspace(low * 1.05, high / 1.05, 4)]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
