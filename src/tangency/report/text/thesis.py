"""What holds of whole sweeps in words: the paper's thesis, where curves turn, convergence, correlations."""

from __future__ import annotations

from collections.abc import Sequence

from tangency.evaluate.verdicts.entries import ThesisVerdict
from tangency.report.read.sweep import estimators
from tangency.report.text.glossary import objective_name
from tangency.report.text.measures import heading
from tangency.report.text.numbers import capital, number
from tangency.report.text.score import direction_name
from tangency.report.text.trials import strength_label, trial_name
from tangency.study.summary.entries import StudySummary
from tangency.study.summary.sweep_entries import (
    ConvergenceEntry,
    CorrelationControlEntry,
    CorrelationEntry,
    CrossingEntry,
    MovedEntry,
    PeakEntry,
    SweepCurveEntry,
)

SHOWN = 0.05  # level of Holm's p
_KINDS = {"opposite signs": "of opposite sign", "not both shown": "not both shown", "one sign": "of one sign"}


def thesis_sentence(summary: StudySummary, curve: SweepCurveEntry) -> str:
    """Whether the paper's thesis holds of an objective's sweep, fails or is open, and why."""
    name = capital(objective_name(curve.objective))
    if curve.withheld:
        return f"{name}: withheld. {curve.withheld}"
    if curve.thesis is None:
        return f"{name}: not tested, as there is no standard network to compare with."
    thesis = curve.thesis
    counts = {words: sum(reason.startswith(kind) for reason in thesis.reasons) for kind, words in _KINDS.items()}
    signs = ", ".join(f"{words} at {count}" for words, count in counts.items() if count) or "not measured"
    total = sum(counts.values())
    strengths = f"{total} strength{'s' if total != 1 else ''}"
    parts = [f"{name}: {thesis.status}", f"the changes of L and of log F²/control are {signs} of {strengths}"]
    parts += _best(summary, thesis)
    if thesis.left_out:
        parts.append(f"collapsed and left out: {', '.join(thesis.left_out)}")
    return f"{'; '.join(parts)}.{_unit(len(curve.seeds))}{_alone(summary, curve)}"


def _best(summary: StudySummary, thesis: ThesisVerdict) -> list[str]:
    """Whether the recipe of the largest L is on-manifold, by direction."""
    cells = {cell.id: cell for cell in summary.cells}
    by_recipe: dict[str, list[str]] = {}
    for target, name in thesis.best.items():
        by_recipe.setdefault(name, []).append(direction_name(summary, target))
    return [
        f"the largest L under {' and '.join(targets)} is that of {trial_name(cells[name])}, on-manifold: "
        f"{verdict.on_manifold if (verdict := cells[name].verdict) else 'not measured'}"
        for name, targets in by_recipe.items()
        if name in cells
    ]


def _unit(seeds: int) -> str:
    if seeds > 1:
        return f" Networks are the unit, {seeds} a strength."
    return " One network a strength: this is said of these networks, not of their recipes."


def _alone(summary: StudySummary, curve: SweepCurveEntry) -> str:
    """The thesis under each estimator alone, where there are several."""
    names = estimators(summary)
    alone = [f"{names.get(key, key)} {each.status}" for key, each in curve.thesis_by_estimator.items()]
    return f" Under each estimator alone: {', '.join(alone)}." if alone else ""


def turn_rows(summary: StudySummary) -> list[tuple[str, str, str, str, str]]:
    """Objective, what turns, and the peak, t₁ and t₂ of it in words: L under each direction, then accuracy."""
    rows = []
    for curve in summary.curves:
        name = capital(objective_name(curve.objective))
        if curve.withheld:
            rows.append((name, "withheld", "–", "–", "–"))
            continue
        for target, own in curve.directions.items():
            turns = (peak_words(own.peak), crossing_words(own.t1), crossing_words(own.t2))
            rows.append((name, f"L, {direction_name(summary, target)}", *turns))
        rows.append((name, "accuracy", "–", "–", crossing_words(curve.t2_accuracy)))
    return rows


def peak_words(peak: PeakEntry | None) -> str:
    """Whether a curve has a maximum between its ends."""
    if peak is None:
        return "not tested: fewer than three strengths"
    if peak.p is None:
        return f"not tested: {peak.reason or 'too few networks'}"
    where = f"at {strength_label(peak.peak.strength)}, p = {number(peak.p)}"
    return f"shown {where}" if peak.shown else f"not shown (largest between the ends {where})"


def crossing_words(crossing: CrossingEntry | None) -> str:
    """A strength with its interval, or why there is none."""
    if crossing is None:
        return "not defined"
    if crossing.estimate is None:
        return f"not defined: {crossing.reason}" if crossing.reason else "not defined"
    if crossing.low is None or crossing.high is None:
        return f"{_end(crossing.estimate)}, no interval from {_networks(crossing.networks)}"
    return f"{_end(crossing.estimate)} [{_end(crossing.low)}, {_end(crossing.high)}]"


def _end(end: float | str) -> str:
    return end if isinstance(end, str) else number(end)


def _networks(count: int) -> str:
    return f"{count} network{'s' if count != 1 else ''}"


def convergence_sentence(entries: Sequence[ConvergenceEntry]) -> str:
    """What was trained for longer, and whether it moved."""
    if not entries:
        return (
            "No network was trained for longer, so it is not known whether the verdicts are those of converged "
            "networks. “convergence: true” in the spec trains the ends and the peak of each sweep twice as long."
        )
    moved = [entry for entry in entries if entry.moved]
    first = entries[0].epochs
    trained = f"{len(entries)} recipe{'s were' if len(entries) > 1 else ' was'} trained for {first[1]} epochs, too"
    if not moved:
        return f"{trained}, in place of {first[0]}: neither ln κ nor log F²/control moved by more than is allowed."
    return (
        f"{trained}, in place of {first[0]}: {len(moved)} of them moved too far, and verdicts that rest on them are "
        f"withheld. {'. '.join(entry.reason for entry in moved)}."
    )


def moved_words(moved: MovedEntry) -> str:
    """A change with what is allowed."""
    if moved.change is None:
        return "unknown"
    allowed = f" (allowed ±{number(moved.allowed)})" if moved.allowed is not None else ""
    return f"{number(moved.change, signed=True)}{allowed}"


def correlation_sentence(entries: Sequence[CorrelationEntry]) -> str:
    """Which differences to a control are shown, after Holm's correction for all of them."""
    tested = [(entry, name, each) for entry in entries for name, each in entry.controls.items()]
    known = [(entry, name, each) for entry, name, each in tested if each.p_holm is not None]
    if not known:
        seeds = entries[0].seeds if entries else 0
        few = f" (intervals are over seeds, of which there {'is' if seeds == 1 else 'are'} {seeds})" if seeds else ""
        return f"No difference to a control can be tested{few}, so nothing is claimed."
    shown = [item for item in known if _is_shown(item[2])]
    start = f"After Holm's correction for {len(known)} differences, {len(shown) or 'none'} {_are(shown)} shown"
    words = [
        f"{heading(entry.y)} minus {control_words(name)} {number(each.difference, 2, signed=True)}"
        for entry, name, each in shown
    ]
    return f"{start}{': ' if words else ''}{'; '.join(words)}."


def _is_shown(each: CorrelationControlEntry) -> bool:
    return each.p_holm is not None and each.p_holm <= SHOWN


def _are(shown: Sequence[object]) -> str:
    return "is" if len(shown) < 2 else "are"


def control_words(name: str) -> str:
    """The control of a correlation."""
    return {"shuffled": "another image's target", "dct": "a cosine-frequency subspace"}.get(name, name)
