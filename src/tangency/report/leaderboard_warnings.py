"""What a reader of a leaderboard must know before comparing: settings that differ, chance, missing gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.evaluate.compare import flat, said
from tangency.evaluate.compare_words import SHOWN
from tangency.evaluate.measured import Measured
from tangency.report.payload import FRACTION

_MANY = 0.05  # share of images without a gradient that is worth a word


def of_group(models: Mapping[str, Measured]) -> list[str]:
    """Warnings about models of one data set together."""
    settings = {label: flat(model.about["settings"]) for label, model in models.items()}
    found = []
    for name in dict.fromkeys(name for each in settings.values() for name in each):
        by_value: dict[str, list[str]] = {}
        for label, each in settings.items():
            by_value.setdefault(said(each.get(name)), []).append(label)
        if len(by_value) > 1:
            told = "; ".join(f"{value} for {', '.join(labels)}" for value, labels in by_value.items())
            found.append(f"Settings differ in {name}, so numbers that depend on it cannot be compared: {told}.")
    images = {label: model.ids.tolist() for label, model in models.items()}
    if len({tuple(ids) for ids in images.values()}) > 1:
        told = ", ".join(f"{len(ids)} for {label}" for label, ids in images.items())
        found.append(f"Not all were measured on the same images of this data set: {told}.")
    return found


def is_shown(excess: Mapping[str, Any] | None) -> bool:
    """Whether an excess is shown to be above 0: by its p, adjusted over the models of its table, not its interval."""
    if excess is None or excess["mean"] is None or excess.get("p_holm") is None:
        return False
    return bool(excess["p_holm"] <= SHOWN and excess["mean"] > 0)


def of_model(entry: Mapping[str, Any]) -> list[str]:
    """Warnings about one model: its own, a poor accuracy, images without a gradient, an excess that is not shown."""
    found = [str(warning) for warning in entry.get("warnings", ())]
    regime = entry.get("regime")
    found += list(regime.get("warnings", ())) if isinstance(regime, Mapping) else []
    accuracy, fraction = entry["measures"].get("accuracy"), entry["measures"].get(FRACTION)
    if accuracy and accuracy["low"] is not None and not accuracy["low"] > (accuracy.get("chance") or 0):
        found.append("Its accuracy is not shown to be above chance: look at input range, normalisation and labels.")
    if fraction and fraction["degenerate"] > _MANY * (fraction["n"] + fraction["degenerate"]):
        whole = fraction["n"] + fraction["degenerate"]
        found.append(f"{fraction['degenerate']} of {whole} images have no gradient; they are left out.")
    excess = entry["excess"].get(FRACTION)
    if excess and excess["mean"] is not None and not is_shown(excess):
        found.append(f"Its F² is not shown to be above its best control ({excess['best_control']}).")
    return found
