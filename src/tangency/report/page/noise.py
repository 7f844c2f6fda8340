"""The section on signal and distractor: its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tangency.measures.keys import Key
from tangency.report.read.noise import NoiseCurve, noise_curves, noise_sigmas
from tangency.report.text.glossary import SCALARS
from tangency.report.text.measures import describe
from tangency.report.text.noise import noise_text, shown_above
from tangency.report.text.numbers import band, estimate, number

SIGNAL = "signal_fraction"


def noise_section(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section without its plot: a table, and the plot in words; None for data without a signal."""
    measured = dict.fromkeys(key for trial in summary["trials"] for key in trial["measures"])
    keys = [key for key in measured if Key.parse(key).family == SIGNAL]
    curves = {curve.trial["id"]: curve for curve in noise_curves(summary)}
    sigmas = noise_sigmas(summary)
    if not keys and not curves:
        return None
    shown = [t for t in summary["trials"] if t["id"] in curves or any(key in t["measures"] for key in keys)]
    names = [describe(Key.parse(key)).title for key in keys]
    if len(keys) > 1:
        names = [f"{name}, {SCALARS.get(Key.parse(key).quantity, '')}" for name, key in zip(names, keys, strict=True)]
    chance = [next((t["measures"][key].get("chance") for t in shown if key in t["measures"]), None) for key in keys]
    return {
        "level": round(100 * (summary.get("noise_curves") or {}).get("level", 0.95)),
        "plotted": bool(curves),
        "signals": [
            f"{name} (chance {number(level, 3)})" if level is not None else name
            for name, level in zip(names, chance, strict=True)
        ],
        "sigmas": [f"{sigma:g}" for sigma in sigmas],
        "rows": [table_row(trial, keys, curves.get(trial["id"]), sigmas) for trial in shown],
        "text": noise_text(list(curves.values()), sigmas),
        "undefined": any(mean is None for curve in curves.values() for mean in curve.ratio["mean"]),
        "compared": any(curve.difference for curve in curves.values()),
    }


def table_row(
    trial: Mapping[str, Any], keys: Sequence[str], curve: NoiseCurve | None, sigmas: Sequence[float]
) -> dict[str, Any]:
    """One trial: the gradient's energy on the signal, the ratio at each σ, and where its whole band is above."""
    ratios: list[tuple[str, str]] = [("–", "")] * len(sigmas)
    above, better = "–", "–"
    if curve:
        ends = zip(*(curve.ratio[name] for name in ("mean", "low", "high")), strict=True)
        ratios = [(number(m), band((low, high)) if None not in (low, high) else "") for m, low, high in ends]
        above = shown_above(curve.ratio["low"], sigmas, 1.0)
        better = shown_above(curve.difference["low"], sigmas, 0.0) if curve.difference else "–"
    measures = trial["measures"]
    signals = [estimate(measures[key]) if key in measures else "–" for key in keys]
    return {"trial": trial, "signals": signals, "ratios": ratios, "above": above, "better": better}
