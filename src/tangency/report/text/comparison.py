"""A comparison of two classifiers in words, which say no more than the adjusted p-values show."""

from __future__ import annotations

from tangency.evaluate.compare import MeasureDifference, ModelComparison
from tangency.evaluate.significance import SHOWN
from tangency.measures.keys import Key
from tangency.measures.registry import describe

_SIZES = ((0.2, "very small"), (0.5, "small"), (0.8, "medium"))  # |dz|, after Cohen


def winner(row: MeasureDifference) -> str | None:
    """ "a" or "b" where a shown difference is in a direction that is better; None else."""
    difference = row.difference.mean
    if not is_shown(row) or row.better == "neither" or difference is None:
        return None
    return "a" if (difference > 0) == (row.better == "higher") else "b"


def is_shown(row: MeasureDifference) -> bool:
    """Whether A and B are shown to differ in a measure."""
    return row.p_holm is not None and row.p_holm <= SHOWN and bool(row.difference.mean)


def in_words(row: MeasureDifference, difference: str) -> str:
    """One difference: who has more, by how much, whether that is better, how large, how sure."""
    title = describe(row.key).title + (", minus its control" if Key.parse(row.key).excess else "")
    more, less = ("A", "B") if (row.difference.mean or 0) > 0 else ("B", "A")
    better = {"a": "A is better", "b": "B is better", None: "neither way is better"}[winner(row)]
    size = "" if row.dz is None else f", a {size_of(row.dz)} paired effect"
    return (
        f"{title} ({row.key}): {more} has more than {less}, A − B = {difference}{size}; {better} "
        f"(Holm's p = {row.p_holm:.2g})."
    )


def size_of(dz: float) -> str:
    """Cohen's words for an effect size."""
    return next((word for limit, word in _SIZES if abs(dz) < limit), "large")


def overall(comparison: ModelComparison) -> str:
    """How many measures are shown to differ, and for whom."""
    rows = comparison.measures
    if all(row.difference.mean in (0, None) for row in rows):
        return "A and B do not differ in any measure of any image: all differences are exactly 0."
    shown = [row for row in rows if is_shown(row)]
    wins = [winner(row) for row in rows]
    return (
        f"{len(shown)} of {len(rows)} measures are shown to differ (Holm's p ≤ {SHOWN:g}): A is better in "
        f"{wins.count('a')}, B in {wins.count('b')}, and in {len(shown) - wins.count('a') - wins.count('b')} neither "
        "way is better."
    )
