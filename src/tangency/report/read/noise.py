"""Signal and distractor: the curves of relative noise robustness against σ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Band = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class NoiseCurve:
    """One trial's ratio against σ.

    Args:
        index: of the trial in the summary.
        trial: its entry.
        ratio: "mean", "low" and "high" at each σ; the band holds at all of them at once.
        difference: likewise for its ratio minus the standard network's, paired; None where there is none.
        shade: rank of its strength among those of its objective over their number, in (0, 1].
    """

    index: int
    trial: Mapping[str, Any]
    ratio: Band
    difference: Band | None
    shade: float


def noise_sigmas(summary: Mapping[str, Any]) -> list[float]:
    """The grid of σ; empty where no curve was measured."""
    measured = summary.get("noise_curves") or {}
    return list(measured.get("sigmas") or []) if measured.get("trials") else []


def noise_curves(summary: Mapping[str, Any]) -> list[NoiseCurve]:
    """The curves in the order of the trials; empty for a summary without any."""
    trials = summary["trials"]
    by_trial = (summary.get("noise_curves") or {}).get("trials") or {}
    out = []
    for index, trial in enumerate(trials):
        if curve := by_trial.get(trial["id"]):
            ratio = {"mean": curve["ratio"], "low": curve["low"], "high": curve["high"]}
            difference = curve.get("minus_standard")
            strengths = sorted({t["strength"] for t in trials if t["objective"] == trial["objective"]})
            shade = (1 + strengths.index(trial["strength"])) / len(strengths)
            out.append(NoiseCurve(index, trial, ratio, difference, round(shade, 3)))
    return out
