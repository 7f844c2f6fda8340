"""Which measures share axes, which of them are shown first, and what the axes are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tangency.measures.keys import ALIGNMENT, FRACTION, Key
from tangency.measures.registry import is_fixed, measure_of
from tangency.measures.similarity.metrics import metric_of
from tangency.report.read.keys import all_keys
from tangency.report.text.measures import describe, parameter_label, short_label


def panels(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry per set of axes, with the keys (σ or ε) that can be drawn in it.

    Measures that are the same for every classifier have none; a sentence says them.
    """
    out: dict[str, dict[str, Any]] = {}
    for key in all_keys(trials):
        if key.control or key.tangents or is_fixed(key):
            continue
        panel = out.setdefault(key.panel, {"id": key.panel, "text": describe(key), "keys": [], "chosen": 0})
        panel["keys"].append(key)
    for panel in out.values():
        panel["keys"].sort(key=lambda key: key.value or 0.0)
        keys = panel["keys"]
        measure = measure_of(keys[0].family)
        wanted = measure.shown if measure else 0.0
        panel["chosen"] = min(range(len(keys)), key=lambda i: abs((keys[i].value or 0.0) - wanted))
        panel["options"] = [(parameter_label(key), str(key)) for key in keys]
    return list(out.values())


def story_keys(summary: Mapping[str, Any]) -> dict[str, str]:
    """The measures of the first figure by role; roles that were not measured are left out."""
    trials = summary["trials"]
    headline = summary["headline"] or {}
    chosen = {panel["id"]: str(panel["keys"][panel["chosen"]]) for panel in panels(trials)}
    alignment = headline.get("alignment") or default_alignment(trials)
    best = headline.get("tangent_excess", {}).get("best_control") or "pca"
    roles = {
        "accuracy": "accuracy",
        "on": chosen.get("change_on", ""),
        "off": chosen.get("change_off", ""),
        "fraction": FRACTION,
        "fraction_control": str(Key.parse(FRACTION).under(best)),
        "alignment": alignment,
        "alignment_control": str(Key.parse(alignment).under("shuffled")),
    }
    taken = {text for trial in trials for text in trial["measures"]}
    return {role: text for role, text in roles.items() if text in taken}


def default_alignment(trials: Sequence[Mapping[str, Any]]) -> str:
    """The cosine with the Bayes gradient at its largest σ; if it was not measured, the first alignment likewise."""
    keys = [key for key in all_keys(trials) if metric_of(key.family) and not key.control]
    panel = ALIGNMENT if any(key.panel == ALIGNMENT for key in keys) else keys[0].panel if keys else ""
    return str(max((key for key in keys if key.panel == panel), key=lambda key: key.value or 0.0)) if keys else ""


def story_labels(keys: Mapping[str, str]) -> dict[str, str]:
    """Labels of the rows of the first figure, by their first role, with the chosen ε, target and σ."""
    labels = {
        role: short_label(Key.parse(keys[role])) for role in ("accuracy", "fraction", "alignment") if role in keys
    }
    if "on" in keys:
        labels["on"] = f"Softmax change, {parameter_label(Key.parse(keys['on']))}"
    return labels


def correlation_panels(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The correlations, one entry per pair of axes, with its σ values to choose from."""
    out: dict[str, dict[str, Any]] = {}
    for item in summary["correlations"]:
        key = Key.parse(item["y"])
        entry = out.setdefault(key.panel, {"id": key.panel, "text": describe(key), "x": item["x"], "items": []})
        entry["items"].append(item | {"option": parameter_label(key), "value": key.value or 0.0})
    for entry in out.values():
        entry["items"].sort(key=lambda item: item["value"])
        entry["chosen"] = min(range(len(entry["items"])), key=lambda i: abs(entry["items"][i]["value"] - 0.5))
    return list(out.values())
