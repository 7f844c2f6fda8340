"""What a causal study found, in sentences that are made of its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tangency.cause.arms import NONE, OFF, WHOLE
from tangency.cause.compare import FAILS, HOLDS, OPEN
from tangency.cause.entries import ArmEntry, DifferenceEntry, JudgeEntry, Verdict
from tangency.study.sweep import STANDARD

_WORDS = {"bayes_gradient": "the closed form's direction", "network_bayes_gradient": "the trained score's direction"}


def findings(
    verdict: Verdict, arms: Sequence[ArmEntry], judges: Sequence[JudgeEntry], curves: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Verdict, match, each judge, and the common curve.

    Args:
        verdict: of the whole study.
        arms, judges: its entries.
        curves: common curves of the calibration, as in summary.json.
    """
    lines = [_verdict(verdict, judges), *_match(arms)]
    for entry in judges:
        lines += [_judge(entry), *_beside(entry)]
    return lines + [line for curve in curves for line in _curve(curve)]


def judge_name(judge: str) -> str:
    """A direction or an estimator in words."""
    return _WORDS.get(judge, f"F² in '{judge}'")


def _verdict(verdict: Verdict, judges: Sequence[JudgeEntry]) -> str:
    deciding = [judge for judge in judges if judge.held_out]
    count = f"{len(deciding)} held-out judge{'s' * (len(deciding) != 1)}"
    names = [judge_name(judge.judge) for judge in deciding if judge.verdict == verdict]
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


def _judge(entry: JudgeEntry) -> str:
    role = "held out" if entry.held_out else "of the guide's kind, so that it decides nothing"
    title = f"Under {judge_name(entry.judge)} ({role})"
    if entry.best is None or OFF not in entry.levels:
        return f"{title}: {entry.verdict}. {entry.reason}"
    best, unit = entry.best, "" if entry.kind == "direction" else " of log F²"
    return (
        f"{title}: {entry.verdict}. Own {entry.levels[OFF].mean:.3f}, best sham {best.sham} "
        f"{entry.levels[best.sham].mean:.3f}; own − best {best.mean:+.3f} [{best.low:+.3f}, {best.high:+.3f}]{unit}, "
        f"{best.seed_sds:+.1f} seed sds. A true difference of {best.smallest_found:.3f} is found with 80 %."
    )


def _beside(entry: JudgeEntry) -> list[str]:
    """Against the whole-gradient penalty and against no penalty."""
    by_arm = {each.arm: each for each in entry.differences}
    parts = [_pair(by_arm[arm]) for arm in (WHOLE, NONE) if arm in by_arm]
    return [f"Under {judge_name(entry.judge)}, {'; '.join(parts)}."] if parts else []


def _pair(each: DifferenceEntry) -> str:
    unmatched = "" if each.matched else ", not matched"
    d = each.difference
    return f"own − {each.arm} {d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]{unmatched}"


def _curve(curve: Mapping[str, Any]) -> list[str]:
    if curve.get("r2") is None:
        return []
    others = [each for each in curve["objectives"] if each != STANDARD]
    return [
        f"One curve of the radius explains R² = {curve['r2']:.2f} of {judge_name(curve['direction'])} over "
        f"{curve['cells']} recipes of {len(others)} arms."
    ]
