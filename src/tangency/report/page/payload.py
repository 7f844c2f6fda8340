"""The numbers that the page's script draws, as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tangency.measures.keys import Key
from tangency.report.page.spread import spread
from tangency.report.read.keys import all_keys
from tangency.report.read.levels import bayes_level, denoising
from tangency.report.read.noise import noise_curves, noise_sigmas
from tangency.report.read.trials import swept
from tangency.report.text.glossary import control_name, objective_name
from tangency.report.text.numbers import rounded
from tangency.report.text.panels import panels, story_keys, story_labels
from tangency.report.text.trials import regime_label, trial_name

if TYPE_CHECKING:
    import polars


def trial_entry(trial: Mapping[str, Any]) -> dict[str, Any]:
    """What the script needs of a trial besides its measures."""
    names = ("id", "objective", "strength", "seed", "outcome", "regime")
    return {name: trial[name] for name in names} | {"label": regime_label(trial), "name": trial_name(trial)}


def measure_table(trials: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float | None] | None]]:
    """{key: [[mean, low, high, n, degenerate, chance] or null for each trial]}."""
    fields = ("mean", "low", "high", "n", "degenerate", "chance")
    table: dict[str, list[list[float | None] | None]] = {}
    for key in all_keys(trials):
        entries = [trial["measures"].get(str(key)) for trial in trials]
        table[str(key)] = [entry and [rounded(entry.get(name)) for name in fields] for entry in entries]
    return table


def excess_table(trials: Sequence[Mapping[str, Any]]) -> dict[str, list[list[Any] | None]]:
    """{key: [[mean, low, high, n, control] or null for each trial]}."""
    table: dict[str, list[list[Any] | None]] = {}
    for text in dict.fromkeys(text for trial in trials for text in trial["excess"]):
        entries = [trial["excess"].get(text) for trial in trials]
        family = Key.parse(text).family
        table[text] = [
            entry
            and [rounded(entry[name]) for name in ("mean", "low", "high", "n")]
            + [control_name(entry.get("best_control") or "shuffled", family)]
            for entry in entries
        ]
    return table


def payload(summary: Mapping[str, Any], rows: polars.DataFrame) -> dict[str, Any]:
    """Everything that the script draws."""
    trials = summary["trials"]
    return {
        "objectives": [{"id": o, "name": objective_name(o)} for o in swept(trials)],
        "trials": [trial_entry(trial) for trial in trials],
        "measures": measure_table(trials),
        "excess": excess_table(trials),
        "panels": {panel["id"]: {"title": panel["text"].title} for panel in panels(trials)},
        "far": [str(key) for key in all_keys(trials) if bayes_level(trials, key)[1]],
        "story": story_keys(summary),
        "story_labels": story_labels(story_keys(summary)),
        "spread": spread(trials, rows),
        "noise": noise_payload(summary),
        "denoising": [[rounded(d[name]) for name in ("sigma", "mse", "identity")] for d in denoising(summary)],
    }


def noise_payload(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Relative noise robustness against σ, one curve per trial, and robust minus standard where it is paired."""

    def band(ends: Mapping[str, Any]) -> dict[str, list[float | None]]:
        return {name: [rounded(value) for value in values] for name, values in ends.items()}

    curves = [
        {"trial": c.index, "shade": c.shade, "ratio": band(c.ratio), "difference": c.difference and band(c.difference)}
        for c in noise_curves(summary)
    ]
    return {"sigmas": noise_sigmas(summary), "curves": curves}
