"""What holds of whole sweeps in words: the paper's thesis, where curves turn, convergence, correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

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

FEWEST = 3  # networks a strength, for peaks and change points
SHOWN = 0.05  # level of Holm's p
_KINDS = ("one sign", "opposite signs", "not both shown")  # of the reasons of a thesis
_STATUS = {
    "shown": "which is on-manifold",
    "shown (global)": "which is on-manifold (global)",
    "not": "which is not on-manifold",
    "open": "for which on-manifold is open",
}


def thesis_sentence(summary: StudySummary, curve: SweepCurveEntry) -> str:
    """Why the paper's thesis holds of an objective's sweep, fails or is open, which stands before it."""
    if curve.withheld:
        return _sentences([curve.withheld, *curve.lacks])
    thesis = curve.thesis
    if not is_tested(thesis):
        return _sentences(["no change from a standard network is measured", *curve.lacks])
    sentences = [_signs(thesis.reasons), *_best(summary, thesis)]
    if thesis.left_out:
        left_out = [trial_name(cell) for cell in summary.cells if cell.id in thesis.left_out]
        sentences.append(f"Collapsed and left out: {', '.join(left_out)}")
    sentences += [*curve.lacks, _unit(len(curve.seeds)), _alone(summary, curve)]
    return _sentences(sentences)


def _sentences(parts: Sequence[str]) -> str:
    return " ".join(f"{capital(part.rstrip('.'))}." for part in parts if part)


def is_tested(thesis: ThesisVerdict | None) -> TypeGuard[ThesisVerdict]:
    """Whether any change from the standard network is measured."""
    return thesis is not None and any(each.alignment and each.fraction for each in thesis.changes.values())


def _signs(reasons: Sequence[str]) -> str:
    """At how many strengths L and log F²/control change in one direction, in opposite ones, or are not both shown."""
    same, opposite, open_ = (sum(reason.startswith(kind) for reason in reasons) for kind in _KINDS)
    total = same + opposite + open_

    def at(count: int) -> str:
        return f"at {count} of {total} strength{'s' if total != 1 else ''}"

    moves = [f"in one direction {at(same)}"] if same else []
    moves += [f"in opposite directions {at(opposite)}"] if opposite else []
    words = [f"L and log F²/control are both shown to change, {', '.join(moves)}"] if moves else []
    words += [f"not both changes are shown {at(open_)}"] if open_ else []
    return "; ".join(words)


def _best(summary: StudySummary, thesis: ThesisVerdict) -> list[str]:
    """Whether the recipe of the largest L is on-manifold, by direction."""
    cells = {cell.id: cell for cell in summary.cells}
    by_recipe: dict[str, list[str]] = {}
    for target, name in thesis.best.items():
        by_recipe.setdefault(name, []).append(direction_name(summary, target))
    sentences = []
    for name, targets in by_recipe.items():
        if name in cells and (verdict := cells[name].verdict):
            whose = f"{trial_name(cells[name])}, {_STATUS[verdict.on_manifold]}"
            sentences.append(f"the largest L, under {' and '.join(targets)}, is that of {whose}")
    return sentences


def _unit(seeds: int) -> str:
    if seeds > 1:
        return f"networks are the unit, {seeds} a strength"
    return "one network a strength: this is said of these networks, not of their recipes"


def _alone(summary: StudySummary, curve: SweepCurveEntry) -> str:
    """The thesis under each estimator alone, where there are several."""
    names = estimators(summary)
    alone = [f"{names.get(key, key)} {each.status}" for key, each in curve.thesis_by_estimator.items()]
    return f"under each estimator alone: {', '.join(alone)}" if alone else ""


def turn_sentence(summary: StudySummary) -> str:
    """Why there are no peaks and change points; "" where there are."""
    most = max((len(curve.seeds) for curve in summary.curves), default=0)
    if most >= FEWEST:
        return ""
    return f"Peaks and change points take at least {FEWEST} networks a strength; there {_are_networks(most)}."


def _are_networks(count: int) -> str:
    return f"{'is' if count == 1 else 'are'} {count}"


def turn_rows(summary: StudySummary) -> list[tuple[str, str, str, str, str]]:
    """Objective, what turns, and the peak, t₁ and t₂ of it in words: L under each direction, then accuracy."""
    rows = []
    for curve in summary.curves:
        name, lacks = capital(objective_name(curve.objective)), "".join(f"; {each}" for each in curve.lacks)
        if curve.withheld:
            rows.append((name, "withheld", "–", "–", "–"))
            continue
        for target, own in curve.directions.items():
            turns = (peak_words(own.peak), crossing_words(own.t1), crossing_words(own.t2))
            rows.append((name, f"L, {direction_name(summary, target)}{lacks}", *turns))
        rows.append((name, f"accuracy{lacks}", "–", "–", crossing_words(curve.t2_accuracy)))
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
    ends = [_end(end) for end in (crossing.estimate, crossing.low, crossing.high)]
    if isinstance(crossing.estimate, str) and len(set(ends)) == 1:
        return ends[0]
    return f"{ends[0]} [{ends[1]}, {ends[2]}]"


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
    words = [
        f"{heading(e.y)} minus {control_words(name)}: {each.withheld}" for e, name, each in tested if each.withheld
    ]
    withheld = f" Withheld: {'; '.join(words)}." if words else ""
    if not known and withheld:
        return f"No difference to a control is claimed.{withheld}"
    if not known:
        seeds = entries[0].seeds if entries else 0
        few = f" (intervals are over seeds, of which there {'is' if seeds == 1 else 'are'} {seeds})" if seeds else ""
        return f"No difference to a control can be tested{few}, so nothing is claimed."
    shown = [item for item in known if _is_shown(item[2])]
    tests = f"{len(known)} difference{'s' if len(known) != 1 else ''}"
    start = f"After Holm's correction for {tests}, {len(shown) or 'none'} {_are(shown)} shown"
    words = [
        f"{heading(entry.y)} minus {control_words(name)} {number(each.difference, 2, signed=True)}"
        for entry, name, each in shown
    ]
    return f"{start}{': ' if words else ''}{'; '.join(words)}.{withheld}"


def _is_shown(each: CorrelationControlEntry) -> bool:
    return each.p_holm is not None and each.p_holm <= SHOWN


def _are(shown: Sequence[object]) -> str:
    return "is" if len(shown) < 2 else "are"


def control_words(name: str) -> str:
    """The control of a correlation."""
    return {"shuffled": "another image's target", "dct": "a cosine-frequency subspace"}.get(name, name)
