"""Signal and distractor: relative noise robustness against σ, and the gradient's energy on the signal, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tangency.report.glossary import SCALARS, describe, parse
from tangency.report.words import band, estimate, number, trial_name

Band = Mapping[str, Sequence[float | None]]
SIGNAL = "signal_fraction"


@dataclass(frozen=True)
class NoiseCurve:
    """One trial's ratio against σ.

    Args:
        index: of the trial in the summary.
        trial: its entry.
        ratio: "mean", "low" and "high" at each σ; the band holds at all of them at once.
        difference: the same of its ratio minus the standard network's, paired; None where there is none.
        shade: place of its strength among those of its objective, from above 0 to 1.
    """

    index: int
    trial: Mapping[str, Any]
    ratio: Band
    difference: Band | None
    shade: float


def noise_sigmas(summary: Mapping[str, Any]) -> list[float]:
    """The grid of σ; empty where no curve was measured."""
    found = summary.get("noise_curves") or {}
    return list(found.get("sigmas") or []) if found.get("trials") else []


def noise_curves(summary: Mapping[str, Any]) -> list[NoiseCurve]:
    """The curves in the order of the trials; empty for a summary without any."""
    trials = summary["trials"]
    held = (summary.get("noise_curves") or {}).get("trials") or {}
    out = []
    for index, trial in enumerate(trials):
        if found := held.get(trial["id"]):
            ratio = {"mean": found["ratio"], "low": found["low"], "high": found["high"]}
            difference = found.get("minus_standard")
            strengths = sorted({t["strength"] for t in trials if t["objective"] == trial["objective"]})
            shade = (1 + strengths.index(trial["strength"])) / len(strengths)
            out.append(NoiseCurve(index, trial, ratio, difference, round(shade, 3)))
    return out


def noise_section(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the section shows without a script: its table, and words for the plot; None for data without a signal."""
    keys = [k for k in dict.fromkeys(k for t in summary["trials"] for k in t["measures"]) if k.startswith(SIGNAL)]
    curves = {curve.trial["id"]: curve for curve in noise_curves(summary)}
    sigmas = noise_sigmas(summary)
    if not keys and not curves:
        return None
    shown = [t for t in summary["trials"] if t["id"] in curves or any(key in t["measures"] for key in keys)]
    names = [describe(parse(key)).title for key in keys]
    if len(keys) > 1:
        names = [f"{name}, {SCALARS.get(parse(key).scalar, '')}" for name, key in zip(names, keys, strict=True)]
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
        "text": spoken(list(curves.values()), sigmas),
        "undefined": any(mean is None for curve in curves.values() for mean in curve.ratio["mean"]),
        "compared": any(curve.difference for curve in curves.values()),
    }


def table_row(
    trial: Mapping[str, Any], keys: Sequence[str], curve: NoiseCurve | None, sigmas: Sequence[float]
) -> dict[str, Any]:
    """One trial: the gradient's energy on the signal, the ratio at each σ, and where it is shown to be above."""
    ratios: list[tuple[str, str]] = [("–", "")] * len(sigmas)
    above, better = "–", "–"
    if curve:
        ends = zip(*(curve.ratio[name] for name in ("mean", "low", "high")), strict=True)
        ratios = [(number(m), band((low, high)) if None not in (low, high) else "") for m, low, high in ends]
        above = shown_above(curve.ratio["low"], sigmas, 1.0)
        better = shown_above(curve.difference["low"], sigmas, 0.0) if curve.difference else "–"
    held = trial["measures"]
    signals = [estimate(held[key]) if key in held else "–" for key in keys]
    return {"trial": trial, "signals": signals, "ratios": ratios, "above": above, "better": better}


def shown_above(lows: Sequence[float | None], sigmas: Sequence[float], level: float) -> str:
    """The σ at which the whole band is above a level: "all", "none", or which."""
    found = [f"{sigma:g}" for sigma, low in zip(sigmas, lows, strict=True) if low is not None and low > level]
    return "all" if len(found) == len(sigmas) else ", ".join(found) or "none"


def spoken(curves: Sequence[NoiseCurve], sigmas: Sequence[float]) -> str:
    """What a screen reader says for the plot."""
    parts = []
    for curve in curves:
        if known := [(s, m) for s, m in zip(sigmas, curve.ratio["mean"], strict=True) if m is not None]:
            (first, start), (last, end) = known[0], known[-1]
            parts.append(f"{trial_name(curve.trial)}: {number(start)} at σ = {first:g}, {number(end)} at σ = {last:g}")
    return f"Relative noise robustness against σ. {'; '.join(parts) or 'Undefined everywhere'}."
