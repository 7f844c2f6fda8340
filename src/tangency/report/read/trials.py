"""Which trials of a summary are trained networks, and which are references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

STANDARD = "standard"
UNTRAINED = "untrained"
BAYES = "bayes"
REFERENCES = (UNTRAINED, BAYES)  # for which nothing was trained


def trained(trials: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The trials that are trained networks."""
    return [trial for trial in trials if trial["objective"] not in REFERENCES]


def swept(trials: Iterable[Mapping[str, Any]]) -> list[str]:
    """The objectives that have strengths, all trained ones but the standard, in the order of the summary."""
    return [o for o in dict.fromkeys(trial["objective"] for trial in trained(trials)) if o != STANDARD]
