"""The numbers of a leaderboard: its columns, its rows with their ranks, the controls, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tangency.evaluate.compare_words import SHOWN
from tangency.evaluate.measured import Measured
from tangency.report import glossary, words
from tangency.report.leaderboard_warnings import is_shown, of_model
from tangency.report.page import KAPPA, Head, heading
from tangency.report.payload import ALIGNMENT, FRACTION

FAMILIES = ("accuracy", "tangent_fraction", "kappa", "change_on", "change_off", "alignment_cosine")
ROBUST = ("accuracy_", "certified_accuracy")  # families of accuracies under attack, noise or with a certificate
CSV_COLUMNS = ["model", "data", "measure", "mean", "low", "high", "n", "degenerate", "chance", "p", "p_holm", "dz"]
_STEP = 2.0  # length ε of the steps that are shown; the nearest measured one

Numbers = Mapping[str, Any]
SHUFFLED = "shuffled"


@dataclass(frozen=True)
class MinusShuffled(Head):
    """A measure minus its shuffled control, where that is not its best control."""

    @property
    def source(self) -> str:
        """The key as the heading's tip gives it."""
        return f"{self.key} minus {self.key}.{SHUFFLED}"

    def of(self, trial: Numbers) -> Any:
        """The estimate, or None."""
        return ((trial["excess"].get(self.key) or {}).get("controls") or {}).get(SHUFFLED)


ORDER = MinusShuffled("F² minus shuffled", FRACTION, "excess", True)  # what models are ordered by


def heads(models: Sequence[Numbers]) -> list[Head]:
    """Columns that at least one model has."""
    keys = list(dict.fromkeys(key for numbers in models for key in numbers["measures"]))
    found = [Head("Accuracy", "accuracy")] if "accuracy" in keys else []
    if FRACTION in keys:
        found += [Head("F²", FRACTION), ORDER, Head("F² minus best control", FRACTION, "excess", True)]
    if KAPPA in keys:
        found.append(Head("κ (pooled)", KAPPA))
    alignment = _with_number([k for k in keys if k.startswith(f"{ALIGNMENT}.sigma=")], float("inf"))
    if alignment:
        name = heading(alignment)
        found += [Head(name, alignment), Head(f"{name}, minus shuffled", alignment, "excess", True)]
    for side, title in (("on", "On-manifold change"), ("off", "Off-manifold change")):
        step = _with_number([k for k in keys if k.startswith(f"change_{side}.eps=")], _STEP)
        found += [Head(f"{title}, ε = {step.partition('eps=')[2]}", step)] if step else []
    return found + [Head(_robust_title(key), key) for key in keys if key.startswith(ROBUST)]


def _with_number(keys: Sequence[str], wanted: float) -> str:
    """The plain key whose σ or ε is nearest, the largest for ∞; "" where there is none."""
    plain = {key: glossary.parse(key) for key in keys}
    usable = {key: k.value for key, k in plain.items() if not k.control and not k.tangents and k.value is not None}
    if wanted == float("inf"):
        return max(usable, key=lambda key: usable[key], default="")
    return min(usable, key=lambda key: abs(usable[key] - wanted), default="")


def _robust_title(key: str) -> str:
    family, _, rest = key.partition(".")
    return words.capital(f"{family.replace('_', ' ')}{', ' + rest.replace('=', ' = ') if rest else ''}")


def ranked_by(numbers: Numbers) -> Numbers | None:
    """F² minus the shuffled control; None where there is none, or where the accuracy is not shown to be above chance.

    A network that classifies nothing has no rank: its gradient is about no class. Nor has one of a single image.
    """
    accuracy, found = numbers["measures"].get("accuracy"), ORDER.of(numbers)
    if accuracy and (accuracy["low"] is None or accuracy["low"] <= (accuracy.get("chance") or 0)):
        return None
    return found if found and found["mean"] is not None and found["n"] > 1 else None


def order(numbers: Numbers) -> tuple[bool, float]:
    """Where a model stands: the largest F² minus shuffled first, those without a rank last."""
    found = ranked_by(numbers)
    return (True, 0.0) if found is None else (False, -found["mean"])


def rows(numbers: Mapping[str, Numbers], measured: Mapping[str, Measured], of: Sequence[Head]) -> list[dict[str, Any]]:
    """One row a model: its rank with the ranks that the intervals leave open, its cells, its warnings."""
    ranks = rank_ranges([ranked_by(n) or {} for n in numbers.values()])
    out = []
    for (label, found), rank in zip(numbers.items(), ranks, strict=True):
        regime = found.get("regime")
        named = regime.get("regime") if isinstance(regime, Mapping) else regime
        out.append(
            {
                "label": label,
                "model": measured[label].name,
                "images": len(measured[label].ids),
                "rank": rank,
                "regime": glossary.REGIMES[named][0] if named in glossary.REGIMES else "",
                "cells": [_cell(head, found) for head in of],
                "warnings": of_model(found),
            }
        )
    return out


def rank_ranges(estimates: Sequence[Numbers]) -> list[str]:
    """Rank of each in its order, "2" or "1–3": ranks that no interval of another, wholly above or below, rules out."""
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


def _cell(head: Head, numbers: Numbers) -> dict[str, Any] | None:
    entry = head.of(numbers)
    if entry is None or entry["mean"] is None:
        return None
    control = entry.get("best_control")
    notes = []
    if control and control != SHUFFLED:
        notes.append(f"over {control.replace('_', ' ')}")
    if entry.get("p_holm") is not None:
        notes.append(f"Holm's p {_p(entry['p_holm'])}")
    return {**entry, "value": entry["mean"], "text": words.entry(entry["mean"], 3, head.signed), "notes": notes}


def _p(value: float) -> str:
    return f"= {value:.2g}" if value >= 1e-3 else "< 0.001"


def chances(of: Sequence[Head], numbers: Mapping[str, Numbers]) -> list[str]:
    """Chance level of each column, as a range where models differ."""
    out = []
    for head in of:
        if head.kind == "excess":
            out.append("0")
            continue
        levels = [e["chance"] for n in numbers.values() if (e := head.of(n)) and e.get("chance") is not None]
        low, high = (words.number(f(levels), 3) for f in (min, max)) if levels else ("–", "–")
        out.append(low if low == high else f"{low} to {high}")
    return out


def controls(numbers: Mapping[str, Numbers]) -> list[dict[str, Any]]:
    """F² and the headline alignment beside each of their controls: one table a measure, one row a model."""
    keys = list(dict.fromkeys(key for n in numbers.values() for key in n["measures"]))
    alignment = _with_number([k for k in keys if k.startswith(f"{ALIGNMENT}.sigma=")], float("inf"))
    out = []
    for key in filter(None, (FRACTION if FRACTION in keys else "", alignment)):
        names = [k.removeprefix(f"{key}.") for k in keys if k.startswith(f"{key}.") and glossary.parse(k).base == key]
        if not names:
            continue
        table = [
            (label, [n["measures"].get(k) for k in (key, *(f"{key}.{x}" for x in names))], n["excess"].get(key))
            for label, n in numbers.items()
        ]
        titles = [(name, glossary.control_name(name, glossary.parse(key).family)) for name in names]
        out.append({"title": heading(key), "key": key, "names": titles, "rows": table})
    return out


def sentence(numbers: Mapping[str, Numbers]) -> str:
    """Who stands first, and how many are shown (by Holm's p) to know more than shuffled images and every control do."""
    ranked = [(label, own) for label, n in numbers.items() if (own := ranked_by(n))]
    if not ranked:
        return "No model can be ranked: none has both an accuracy above chance and F² with its shuffled control."
    label, first = ranked[0]
    above = sum(is_shown(own) for _, own in ranked)
    every = sum(is_shown(numbers[label]["excess"][FRACTION]) for label, _ in ranked)
    whole = len(ranked)
    return (
        f"{label} stands first: its F² minus that of shuffled images is {words.estimate(first, signed=True)}. "
        f"Of {whole} ranked, {above} {'is' if above == 1 else 'are'} shown to be above shuffled images, {every} above "
        f"every control (Holm's p ≤ {SHOWN:g})."
    )


def cells_of(entry: Numbers) -> list[Any]:
    """A number as the download has it."""
    return [entry.get(name) for name in CSV_COLUMNS[3:]]
