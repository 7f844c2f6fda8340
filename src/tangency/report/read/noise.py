"""Signal and distractor: the curves of relative noise robustness against σ."""

from __future__ import annotations

from dataclasses import dataclass

from tangency.study.summary.entries import CurveEntry, StudySummary, TrialEntry


@dataclass(frozen=True)
class NoiseCurve:
    """One trial's ratio against σ.

    Args:
        index: of the trial in the summary.
        trial: its entry.
        ratio: with a band that holds at all σ at once.
        difference: likewise for its ratio minus the standard network's, paired; None where there is none.
        shade: rank of its strength among those of its objective over their number, in (0, 1].
    """

    index: int
    trial: TrialEntry
    ratio: CurveEntry
    difference: CurveEntry | None
    shade: float


def noise_sigmas(summary: StudySummary) -> list[float]:
    """The grid of σ; empty where no curve was measured."""
    return list(summary.noise_curves.sigmas or []) if summary.noise_curves.trials else []


def noise_curves(summary: StudySummary) -> list[NoiseCurve]:
    """The curves in the order of the trials; empty for a summary without any."""
    by_trial = summary.noise_curves.trials or {}
    out = []
    for index, trial in enumerate(summary.trials):
        if curve := by_trial.get(trial.id):
            ratio = CurveEntry(mean=curve.ratio, low=curve.low, high=curve.high)
            strengths = sorted({t.strength for t in summary.trials if t.objective == trial.objective})
            shade = (1 + strengths.index(trial.strength)) / len(strengths)
            out.append(NoiseCurve(index, trial, ratio, curve.minus_standard, round(shade, 3)))
    return out
