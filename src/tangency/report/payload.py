"""The numbers that the page's script draws, as one JSON object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.report.glossary import (
    BAYES,
    Key,
    control_name,
    describe,
    objective_name,
    parameter_label,
    parse,
    short_label,
    swept,
    trained,
)
from tangency.report.noise import noise_curves, noise_sigmas
from tangency.report.words import regime_label, trial_name

if TYPE_CHECKING:
    import polars

FRACTION = "tangent_fraction.logp_y"
ALIGNMENT = "alignment_cosine.logp_y.bayes_gradient"
ORDER = (
    "accuracy",
    "tangent_fraction",
    "kappa",
    "log_kappa",
    "change_on",
    "change_curved",
    "change_off",
    "rho",
    "signal_fraction",
    "relative_noise",
    "noise_signal",
    "noise_distractor",
    "alignment_cosine",
    "alignment_lpips",
)
PREFERRED = {
    "alignment_cosine": 0.5,
    "alignment_lpips": 0.5,
    "rho": 0.05,
    "change_on": 2.0,
    "change_off": 2.0,
    "change_curved": 2.0,
    "relative_noise": 0.1,
    "noise_signal": 0.1,
    "noise_distractor": 0.1,
}
BINS = 60
FAR = math.log(1000)  # nats of κ under the lowest network, from where a level is written and not drawn


def rounded(value: float | None) -> float | None:
    """Five significant digits; NaN and infinity become null, which strict JSON readers need."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def all_keys(trials: Iterable[Mapping[str, Any]]) -> list[Key]:
    """Every measure of any trial, once, in the order of the page."""
    texts = dict.fromkeys(text for trial in trials for text in trial["measures"])
    rank = {family: i for i, family in enumerate(ORDER)}
    return sorted(map(parse, texts), key=lambda key: rank.get(key.family, len(ORDER)))


def panels(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry per set of axes, with the keys (σ or ε) that can be drawn in it.

    What no classifier changes (the share of pixels that a step puts outside [0, 1]) is a sentence, not a curve.
    """
    out: dict[str, dict[str, Any]] = {}
    for key in all_keys(trials):
        if key.control or key.tangents or key.family.startswith(("outside", "residual")):
            continue
        panel = out.setdefault(key.panel, {"id": key.panel, "text": describe(key), "keys": [], "chosen": 0})
        panel["keys"].append(key)
    for panel in out.values():
        panel["keys"].sort(key=lambda key: key.value or 0.0)
        keys = panel["keys"]
        wanted = PREFERRED.get(keys[0].family, 0.0)
        panel["chosen"] = min(range(len(keys)), key=lambda i: abs((keys[i].value or 0.0) - wanted))
        panel["options"] = [(parameter_label(key), key.text) for key in keys]
    return list(out.values())


def story_keys(summary: Mapping[str, Any]) -> dict[str, str]:
    """The measures of the first figure; a role whose measure was not taken is left out."""
    trials = summary["trials"]
    headline = summary["headline"] or {}
    chosen = {panel["id"]: panel["keys"][panel["chosen"]].text for panel in panels(trials)}
    alignment = headline.get("alignment") or default_alignment(trials)
    best = headline.get("tangent_excess", {}).get("best_control") or "pca"
    roles = {
        "accuracy": "accuracy",
        "on": chosen.get("change_on", ""),
        "off": chosen.get("change_off", ""),
        "fraction": FRACTION,
        "fraction_control": f"{FRACTION}.{best}",
        "alignment": alignment,
        "alignment_control": f"{alignment}.shuffled",
    }
    taken = {text for trial in trials for text in trial["measures"]}
    return {role: text for role, text in roles.items() if text in taken}


def default_alignment(trials: Sequence[Mapping[str, Any]]) -> str:
    """The headline's alignment at its largest σ; where it was not measured, the first alignment at its largest σ."""
    keys = [key for key in all_keys(trials) if key.family.startswith("alignment") and not key.control]
    panel = ALIGNMENT if any(key.panel == ALIGNMENT for key in keys) else keys[0].panel if keys else ""
    return max((key for key in keys if key.panel == panel), key=lambda key: key.value or 0.0).text if keys else ""


def story_labels(keys: Mapping[str, str]) -> dict[str, str]:
    """What each row of the first figure shows, by its first role, with the ε, target and σ that were chosen."""
    labels = {role: short_label(parse(keys[role])) for role in ("accuracy", "fraction", "alignment") if role in keys}
    if "on" in keys:
        labels["on"] = f"Softmax change, {parameter_label(parse(keys['on']))}"
    return labels


def bayes_level(trials: Sequence[Mapping[str, Any]], key: Key) -> tuple[float | None, bool]:
    """Mean of the Bayes rule, and whether κ is so far under every network's that the curves would be flattened."""
    level = next(iter(means([t for t in trials if t["objective"] == BAYES], key.text)), None)
    if level is None or key.family not in ("kappa", "log_kappa"):
        return level, False

    def nats(value: float) -> float:
        return value if key.family == "log_kappa" else math.log(value) if value > 0 else -math.inf

    return level, nats(level) < min(map(nats, means(trained(trials), key.text)), default=math.inf) - FAR


def means(trials: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    """The means of a measure that are defined."""
    found = (trial["measures"].get(key, {}).get("mean") for trial in trials)
    return [mean for mean in found if mean is not None and math.isfinite(mean)]


def trial_entry(trial: Mapping[str, Any]) -> dict[str, Any]:
    """What the script needs of a trial besides its measures."""
    names = ("id", "objective", "strength", "seed", "outcome", "regime")
    return {name: trial[name] for name in names} | {"label": regime_label(trial), "name": trial_name(trial)}


def measure_table(trials: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float | None] | None]]:
    """{key: [[mean, low, high, n, degenerate, chance] or null for each trial]}."""
    fields = ("mean", "low", "high", "n", "degenerate", "chance")
    table: dict[str, list[list[float | None] | None]] = {}
    for key in all_keys(trials):
        found = [trial["measures"].get(key.text) for trial in trials]
        table[key.text] = [entry and [rounded(entry.get(name)) for name in fields] for entry in found]
    return table


def excess_table(trials: Sequence[Mapping[str, Any]]) -> dict[str, list[list[Any] | None]]:
    """{key: [[mean, low, high, n, control] or null for each trial]}."""
    table: dict[str, list[list[Any] | None]] = {}
    for text in dict.fromkeys(text for trial in trials for text in trial["excess"]):
        found = [trial["excess"].get(text) for trial in trials]
        family = parse(text).family
        table[text] = [
            entry
            and [rounded(entry[name]) for name in ("mean", "low", "high", "n")]
            + [control_name(entry.get("best_control") or "shuffled", family)]
            for entry in found
        ]
    return table


def spread(trials: Sequence[Mapping[str, Any]], rows: polars.DataFrame) -> dict[str, Any]:
    """Density of the per-image tangent fraction for each objective and strength, seeds together."""
    import polars

    chosen = rows.filter((polars.col("measure") == FRACTION) & polars.col("value").is_finite())
    values = {name: part["value"].to_numpy() for (name,), part in chosen.partition_by("trial", as_dict=True).items()}
    merged: dict[tuple[str, float], list[np.ndarray]] = {}
    for trial in trials:
        if trial["id"] in values:
            merged.setdefault((trial["objective"], trial["strength"]), []).append(values[trial["id"]])
    out = []
    for (objective, strength), parts in sorted(merged.items(), key=lambda item: item[0]):
        together = np.concatenate(parts)
        quartiles = [rounded(float(q)) for q in np.quantile(together, (0.25, 0.5, 0.75))]
        curve = {"density": density(together), "quartiles": quartiles, "n": len(together)}
        out.append({"objective": objective, "strength": strength} | curve)
    return {"bins": BINS, "curves": out}


def density(values: np.ndarray) -> list[float]:
    """Histogram over [0, 1], smoothed by a Gaussian of two bins that is reflected at both ends, highest point 1."""
    counts = np.histogram(np.clip(values, 0, 1), BINS, (0, 1))[0].astype(float)
    reach = np.arange(-6, 7)
    kernel = np.exp(-(reach**2) / (2 * 2.0**2))
    smooth = np.convolve(np.pad(counts, 6, mode="symmetric"), kernel, mode="valid")
    return [round(float(value), 3) for value in smooth / smooth.max()]


def payload(summary: Mapping[str, Any], rows: polars.DataFrame) -> dict[str, Any]:
    """Everything that the script draws."""
    trials = summary["trials"]
    return {
        "objectives": [{"id": o, "name": objective_name(o)} for o in swept(trials)],
        "trials": [trial_entry(trial) for trial in trials],
        "measures": measure_table(trials),
        "excess": excess_table(trials),
        "panels": {panel["id"]: {"title": panel["text"].title} for panel in panels(trials)},
        "far": [key.text for key in all_keys(trials) if bayes_level(trials, key)[1]],
        "story": story_keys(summary),
        "story_labels": story_labels(story_keys(summary)),
        "spread": spread(trials, rows),
        "noise": noise_payload(summary),
        "denoising": [[rounded(d[name]) for name in ("sigma", "mse", "identity")] for d in denoising(summary)],
    }


def noise_payload(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Relative noise robustness against σ, one curve per trial, and robust minus standard where it is paired."""

    def band(found: Mapping[str, Any]) -> dict[str, list[float | None]]:
        return {name: [rounded(value) for value in values] for name, values in found.items()}

    curves = [
        {"trial": c.index, "shade": c.shade, "ratio": band(c.ratio), "difference": c.difference and band(c.difference)}
        for c in noise_curves(summary)
    ]
    return {"sigmas": noise_sigmas(summary), "curves": curves}


def denoising(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The denoising errors of the score, by rising σ."""
    return sorted(summary["score"].get("denoising") or [], key=lambda d: d["sigma"])
