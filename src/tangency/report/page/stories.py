"""The first figure in words for screen readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tangency.report.read.trials import STANDARD, swept
from tangency.report.text.glossary import objective_name
from tangency.report.text.measures import heading
from tangency.report.text.numbers import capital
from tangency.report.text.panels import story_keys
from tangency.report.text.trials import curve_text, strength_label

STORY = ("accuracy", "on", "off", "fraction", "alignment")


def stories(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry per objective of the first figure: its text for screen readers, and its failed trials."""
    trials, keys = summary["trials"], story_keys(summary)
    out = []
    for objective in swept(trials):
        own = sorted(
            (t for t in trials if t["objective"] in (objective, STANDARD)),
            key=lambda t: (t["strength"], t["seed"]),
        )
        shown = [keys[role] for role in STORY if role in keys]
        text = [curve_text(capital(heading(key)), points_of(own, key)) for key in shown]
        failed = [t for t in own if t["outcome"] != "ok"]
        fallen = [f"{t['outcome']} at {strength_label(t['strength'])}" for t in failed]
        name = capital(objective_name(objective))
        out.append({"id": objective, "name": name, "text": " ".join(text), "fallen": list(dict.fromkeys(fallen))})
    return out


def points_of(trials: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float | None]]:
    """(strength, mean) of one measure."""
    return [(trial["strength"], trial["measures"].get(key, {}).get("mean")) for trial in trials]
