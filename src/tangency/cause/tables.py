"""The tables of a causal study, as rows of text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tangency.cause.arms import OFF
from tangency.cause.entries import ArmEntry, CauseResult, CriterionEntry
from tangency.cause.findings import criterion_name
from tangency.statistics import CrossedEstimate

Table = tuple[str, Sequence[str], list[Sequence[str]]]  # title, heads, rows


def tables(result: CauseResult) -> list[Table]:
    """Arms with their match, and one table for each criterion."""
    arms = ("arm", "strength", "networks", "accuracy", "radius", "radius / base", "accuracy − base", "matched")
    made: list[Table] = [(f"Arms, matched to {result.base}", arms, [_arm(entry, result.base) for entry in result.arms])]
    heads = ("arm", "level", "own − arm", "seed sd", "found with 80 %", "matched")
    for entry in result.criteria:
        role = "held out" if entry.held_out else "not held out"
        unit = "cosine" if entry.kind == "direction" else "level: F²; own − arm: log F²"
        rows = [(OFF, _interval(entry.levels.get(OFF)), "", "", "", "")]
        rows += [
            (
                each.arm,
                _interval(entry.levels.get(each.arm)),
                _interval(each.difference, "+.3f"),
                f"{each.seed_sd:.4f}",
                f"{each.smallest_found:.3f}",
                _yes(each.matched),
            )
            for each in entry.differences
        ]
        title = f"{criterion_name(entry.criterion)} ({role}; {unit}): {entry.verdict}"
        made.append((title, heads, [*rows, *_best(entry)]))
    return made


def markdown(result: CauseResult) -> str:
    """Findings and tables as one page of Markdown."""
    parts = [f"# {result.name}: {result.verdict}", "\n".join(f"- {line}" for line in result.findings)]
    for title, heads, rows in tables(result):
        lines = [_line(heads), _line(["---", *("---:",) * (len(heads) - 1)]), *map(_line, rows)]
        parts.append("\n".join([f"## {title}", "", *lines]))
    return "\n\n".join(parts) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _yes(matched: bool) -> str:
    return "yes" if matched else "no"


def _interval(estimate: CrossedEstimate | None, form: str = ".3f") -> str:
    if estimate is None:
        return "–"
    return f"{estimate.mean:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def _arm(entry: ArmEntry, base: str) -> Sequence[str]:
    match = entry.match
    return (
        entry.arm,
        f"{entry.strength:.3g}",
        str(len(entry.seeds)),
        _interval(entry.accuracy),
        "–" if entry.radius is None else f"{entry.radius:.3g}",
        _interval(match.radius_ratio) if match else "–",
        _interval(match.accuracy_difference, "+.3f") if match else "–",
        "base" if entry.arm == base else _yes(entry.matched),
    )


def _best(entry: CriterionEntry) -> list[Sequence[str]]:
    best = entry.best
    if best is None:
        return []
    difference = f"{best.mean:+.3f} [{best.low:+.3f}, {best.high:+.3f}]"
    return [(f"best: {best.sham}", "", difference, f"{best.seed_sd:.4f}", f"{best.smallest_found:.3f}", "yes")]
