"""Ranks of measured models, as far as their intervals settle them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tangency.evaluate.compare_words import SHOWN
from tangency.measures.keys import FRACTION

Numbers = Mapping[str, Any]
SHUFFLED = "shuffled"


def minus_shuffled(numbers: Numbers, key: str) -> Any:
    """A measure minus its shuffled control, also where that is not its best control; None where there is none."""
    return ((numbers["excess"].get(key) or {}).get("controls") or {}).get(SHUFFLED)


def ranked_by(numbers: Numbers) -> Numbers | None:
    """F² minus the shuffled control; None where there is none, or where the accuracy is not shown to be above chance.

    Below chance there is no rank, as the gradient is about no class; nor is there one from a single image.
    """
    accuracy, excess = numbers["measures"].get("accuracy"), minus_shuffled(numbers, FRACTION)
    if accuracy and (accuracy["low"] is None or accuracy["low"] <= (accuracy.get("chance") or 0)):
        return None
    return excess if excess and excess["mean"] is not None and excess["n"] > 1 else None


def rank_order(numbers: Numbers) -> tuple[bool, float]:
    """Sorts models: the largest F² minus shuffled first, those without a rank last."""
    excess = ranked_by(numbers)
    return (True, 0.0) if excess is None else (False, -excess["mean"])


def rank_ranges(estimates: Sequence[Numbers]) -> list[str]:
    """Rank of each, "2" or "1–3": one above every model whose interval lies wholly above, and likewise below."""
    known = [e if e.get("low") is not None else None for e in estimates]
    out = []
    for own in known:
        if own is None:
            out.append("–")
            continue
        others = [e for e in known if e is not None]
        best = 1 + sum(e["low"] > own["high"] for e in others)
        worst = len(others) - sum(e["high"] < own["low"] for e in others)
        out.append(f"{best}" if best == worst else f"{best}–{worst}")
    return out


def is_shown(excess: Mapping[str, Any] | None) -> bool:
    """Whether an excess is shown to be above 0, by its p-value adjusted over the models of its table."""
    if excess is None or excess["mean"] is None or excess.get("p_holm") is None:
        return False
    return bool(excess["p_holm"] <= SHOWN and excess["mean"] > 0)
