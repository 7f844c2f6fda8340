"""What a causal study found, in sentences that are made of its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tangency.cause.arms import NONE, OFF, WHOLE
from tangency.cause.compare import FAILS, HOLDS, OPEN
from tangency.cause.entries import ArmEntry, CriterionEntry, DifferenceEntry, Verdict
from tangency.study.sweep import STANDARD

_WORDS = {"bayes_gradient": "the closed form's direction", "network_bayes_gradient": "the trained score's direction"}


def findings(
    verdict: Verdict, arms: Sequence[ArmEntry], criteria: Sequence[CriterionEntry], curves: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Verdict, match, each criterion, and the common curve.

    Args:
        verdict: of the whole study.
        arms, criteria: its entries.
        curves: common curves of the calibration, as in summary.json.
    """
    lines = [_verdict(verdict, criteria), *_match(arms)]
    for entry in criteria:
        lines += [_criterion(entry), *_beside(entry)]
    return lines + [line for curve in curves for line in _curve(curve)]


def criterion_name(criterion: str) -> str:
    """A direction or an estimator in words."""
    return _WORDS.get(criterion, f"F² in '{criterion}'")


def _verdict(verdict: Verdict, criteria: Sequence[CriterionEntry]) -> str:
    deciding = [entry for entry in criteria if entry.held_out]
    count = f"{len(deciding)} held-out {'criterion' if len(deciding) == 1 else 'criteria'}"
    names = [criterion_name(entry.criterion) for entry in deciding if entry.verdict == verdict]
    if verdict == HOLDS:
        return f"It is the manifold: own tangent spaces beat every matched sham under all of {count}."
    if verdict == FAILS:
        return f"It is not the manifold: under {', '.join(names)}, own tangent spaces are no better than a sham."
    if verdict == OPEN:
        return f"It cannot be decided: {count}, of which {', '.join(names)} left it open."
    return "No claim: arms that had to be compared are not matched, or too few networks were trained."


def _match(arms: Sequence[ArmEntry]) -> list[str]:
    loose = [entry for entry in arms if entry.match is not None and not entry.matched and entry.arm != NONE]
    lost = [entry.arm for entry in arms if not entry.seeds]
    lines = [f"Not matched, so no claim rests on it: {e.arm} ({e.match.reason})." for e in loose if e.match]
    return lines + [f"No network of {arm} could be measured." for arm in lost]


def _criterion(entry: CriterionEntry) -> str:
    role = "held out" if entry.held_out else "of the guide's kind, so that it decides nothing"
    title = f"Under {criterion_name(entry.criterion)} ({role})"
    if entry.best is None or OFF not in entry.levels:
        return f"{title}: {entry.verdict}. {entry.reason}"
    best, unit = entry.best, "" if entry.kind == "direction" else " of log F²"
    why = f" {entry.reason}" if entry.verdict == OPEN else ""
    return (
        f"{title}: {entry.verdict}. Own {entry.levels[OFF].mean:.3f}, best sham {best.sham} "
        f"{entry.levels[best.sham].mean:.3f}; own − best {best.mean:+.3f} [{best.low:+.3f}, {best.high:+.3f}]{unit}, "
        f"{best.seed_sds:+.1f} seed sds. A true difference of {best.smallest_found:.3f} is found with 80 %.{why}"
    )


def _beside(entry: CriterionEntry) -> list[str]:
    """Against the whole-gradient penalty and against no penalty."""
    by_arm = {each.arm: each for each in entry.differences}
    parts = [_pair(by_arm[arm]) for arm in (WHOLE, NONE) if arm in by_arm]
    return [f"Under {criterion_name(entry.criterion)}, {'; '.join(parts)}."] if parts else []


def _pair(each: DifferenceEntry) -> str:
    unmatched = "" if each.matched else ", not matched"
    d = each.difference
    return f"own − {each.arm} {d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]{unmatched}"


def _curve(curve: Mapping[str, Any]) -> list[str]:
    if curve.get("r2") is None:
        return []
    arms = len([each for each in curve["objectives"] if each != STANDARD])
    line = (
        f"In the calibration, one curve of the radius explains R² = {_r2(curve)} of the differences in L under "
        f"{criterion_name(curve['direction'])} over {curve['cells']} recipes of {arms} arms"
    )
    beside = {"one of κ": "kappa", "the radius beyond accuracy": "beyond_accuracy"}
    parts = [f"{words} {_r2(curve[key])}" for words, key in beside.items() if curve.get(key)]
    return [f"{'; '.join([line, *parts])}."]


def _r2(fit: Mapping[str, Any]) -> str:
    if fit["r2"] is None:
        return "–"
    return f"{fit['r2']:.2f}" + (f" [{fit['low']:.2f}, {fit['high']:.2f}]" if fit["low"] is not None else "")
