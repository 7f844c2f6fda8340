"""Trials in words: their names, their regimes, their curves, and what to mind when reading them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tangency.measures.keys import Key
from tangency.report.read.noise import NoiseCurve
from tangency.report.read.trials import BAYES, UNTRAINED, Named, column, mean_of, swept, trained
from tangency.report.text.glossary import KAPPA_REGIMES, KAPPA_RULE, REFERENCE_TEXTS, REGIMES, objective_name
from tangency.report.text.numbers import capital, number
from tangency.study.summary.entries import StudySummary, TrialEntry
from tangency.study.summary.sweep_entries import CellEntry

WITHHELD = "withheld"


def strength_label(strength: float) -> str:
    """The strength without trailing zeros."""
    return f"{strength:g}"


def trial_name(trial: Named) -> str:
    """A trial in words, without its seed: "gradient norm 0.3"."""
    name = objective_name(trial.objective)
    return f"{name} {strength_label(trial.strength)}" if trial.strength else name


def regime_label(trial: TrialEntry) -> str:
    """The regime in words; without one the outcome, that it is withheld, or what the trial is instead."""
    if trial.outcome != "ok":
        return trial.outcome
    if trial.network and not label_of(trial):
        return "given"
    return label_of(trial) or REFERENCE_TEXTS.get(trial.objective, ("", "no baseline"))[1]


def label_of(labelled: TrialEntry | CellEntry) -> str:
    """The label of a trial or a recipe in words, the former rule named with its own; "" for one that is not judged."""
    if labelled.withheld:
        return WITHHELD
    if not labelled.regime:
        return ""
    words = REGIMES[labelled.regime][0] if labelled.regime in REGIMES else labelled.regime
    return words if labelled.verdict else f"{words} ({KAPPA_RULE})"


def regime_sentences(summary: StudySummary) -> list[str]:
    """One sentence per objective: which strengths are weak, Bayes-aligned, excessive, or have no label."""
    out = []
    for objective in swept(summary.trials):
        strengths: dict[str, list[str]] = {}
        for step in steps_of(summary, objective):
            if step.objective == objective:
                strengths.setdefault(step.label, []).append(strength_label(step.strength))
        parts = [f"{regime} at {', '.join(own)}" for regime, own in strengths.items()]
        out.append(f"{capital(objective_name(objective))}: {'; '.join(parts)}.")
    return out


def regime_legend(summary: StudySummary) -> list[tuple[str, str]]:
    """Each label with what it means by the rule of the study, and "withheld" where one is."""
    if summary.regimes.rule == "kappa":
        return [(f"{REGIMES[regime][0]} ({KAPPA_RULE})", words) for regime, words in KAPPA_REGIMES.items()]
    withheld = any(cell.withheld for cell in summary.cells)
    return [*REGIMES.values(), *([(WITHHELD, "no label is given, for a reason that is printed")] if withheld else [])]


@dataclass(frozen=True)
class StoryStep:
    """A strength of a sweep, 0 for the standard networks: the label of its recipe, or what became of its networks."""

    objective: str
    strength: float
    regime: str | None
    label: str
    cell: CellEntry | None


def steps_of(summary: StudySummary, objective: str) -> list[StoryStep]:
    """The strengths of an objective by size, the standard networks first."""
    cells = {(cell.objective, cell.strength): cell for cell in summary.cells}
    steps = []
    for strength, name in sorted({(t.strength, t.objective) for t in column(summary.trials, objective)}):
        cell = cells.get((name, strength))
        own = [trial for trial in summary.trials if (trial.objective, trial.strength) == (name, strength)]
        lost = [trial.outcome for trial in own if trial.outcome != "ok"]
        label = (label_of(cell) if cell else "") or (lost[0] if lost else "no baseline")
        steps.append(StoryStep(name, strength, cell.regime if cell else None, label, cell))
    return steps


def networks_text(trials: Sequence[TrialEntry]) -> str:
    """How many networks were trained, and which references were measured beside them."""
    count = len(trained(trials))
    objectives = [trial.objective for trial in trials]
    controls = objectives.count(UNTRAINED)
    beside = [f"the {objective_name(BAYES)}"] if BAYES in objectives else []
    given = sum(trial.network is not None for trial in trials)
    beside += [f"{given} given network{'s' if given > 1 else ''}, which this study did not train"] if given else []
    beside += [f"{controls} untrained control{'s' if controls > 1 else ''}"] if controls else []
    return f"{count} trained network{'s' if count != 1 else ''}{', beside ' if beside else ''}{' and '.join(beside)}"


def seed_warning(seeds: Sequence[int]) -> str:
    """A warning that one network says nothing of its recipe, with one seed; nothing with several."""
    if len(set(seeds)) > 1:
        return ""
    return (
        "One seed. The intervals cover the choice of test images, not of the training run: differences between "
        "strengths may be training noise, and nothing is claimed of recipes. Repeat with several seeds before you "
        "rely on them."
    )


def curve_text(title: str, points: Sequence[tuple[float, float | None]]) -> str:
    """A curve in words for screen readers: its start, end and extremes."""
    known = [(s, m) for s, m in points if m is not None]
    if not known:
        return f"{title}: undefined at every strength."
    top, bottom = max(known, key=lambda p: p[1]), min(known, key=lambda p: p[1])
    return (
        f"{title}: {number(known[0][1])} at strength {strength_label(known[0][0])}, {number(known[-1][1])} at "
        f"{strength_label(known[-1][0])}; highest {number(top[1])} at {strength_label(top[0])}, "
        f"lowest {number(bottom[1])} at {strength_label(bottom[0])}."
    )


def outside_sentence(trials: Sequence[TrialEntry]) -> str:
    """How far the unclipped steps leave the range of images; it is the same for every trial, so the first is read."""
    for trial in trials:
        steps = [key for key in map(Key.parse, trial.measures) if key.family == "outside_on" and not key.tangents]
        parts = []
        for key in sorted(steps, key=lambda key: key.value or 0.0):
            on, off = (mean_of(trial, str(own)) for own in (key, key.of("outside_off")))
            if on is not None and off is not None:
                parts.append(f"{on:.0%} and {off:.0%} at ε = {key.setting('eps')}")
        if parts:
            return (
                "Steps are not clipped: on and off the manifold they put "
                f"{', '.join(parts)} of the pixels outside [0, 1]."
            )
    return ""


def shown_above(lows: Sequence[float | None], sigmas: Sequence[float], level: float) -> str:
    """The σ at which the whole band is above a level: "all", "none", or a list."""
    above = [f"{sigma:g}" for sigma, low in zip(sigmas, lows, strict=True) if low is not None and low > level]
    return "all" if len(above) == len(sigmas) else ", ".join(above) or "none"


def noise_text(curves: Sequence[NoiseCurve], sigmas: Sequence[float]) -> str:
    """The curves of relative noise robustness in words for screen readers."""
    parts = []
    for curve in curves:
        if known := [(s, m) for s, m in zip(sigmas, curve.ratio.mean, strict=True) if m is not None]:
            (first, start), (last, end) = known[0], known[-1]
            parts.append(f"{trial_name(curve.trial)}: {number(start)} at σ = {first:g}, {number(end)} at σ = {last:g}")
    return f"Relative noise robustness against σ. {'; '.join(parts) or 'Undefined everywhere'}."
