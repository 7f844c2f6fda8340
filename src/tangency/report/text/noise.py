"""Signal and distractor in words."""

from __future__ import annotations

from collections.abc import Sequence

from tangency.report.read.noise import NoiseCurve
from tangency.report.text.numbers import number
from tangency.report.text.trials import trial_name


def shown_above(lows: Sequence[float | None], sigmas: Sequence[float], level: float) -> str:
    """The σ at which the whole band is above a level: "all", "none", or a list."""
    above = [f"{sigma:g}" for sigma, low in zip(sigmas, lows, strict=True) if low is not None and low > level]
    return "all" if len(above) == len(sigmas) else ", ".join(above) or "none"


def noise_text(curves: Sequence[NoiseCurve], sigmas: Sequence[float]) -> str:
    """The plot in words for screen readers."""
    parts = []
    for curve in curves:
        if known := [(s, m) for s, m in zip(sigmas, curve.ratio["mean"], strict=True) if m is not None]:
            (first, start), (last, end) = known[0], known[-1]
            parts.append(f"{trial_name(curve.trial)}: {number(start)} at σ = {first:g}, {number(end)} at σ = {last:g}")
    return f"Relative noise robustness against σ. {'; '.join(parts) or 'Undefined everywhere'}."
