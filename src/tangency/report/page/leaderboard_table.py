"""The numbers of a leaderboard: its columns, its rows with their ranks, and the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tangency.evaluate.measured import Measured
from tangency.measures.keys import FRACTION, KAPPA, Key
from tangency.report.page.tables import ColumnHead
from tangency.report.read.keys import alignment_key, nearest_key
from tangency.report.read.ranks import SHUFFLED, Numbers, minus_shuffled, rank_ranges, ranked_by
from tangency.report.text.glossary import REGIMES, control_name
from tangency.report.text.leaderboard import model_warnings
from tangency.report.text.measures import heading
from tangency.report.text.numbers import capital, number, number_or_dash

FAMILIES = ("accuracy", "tangent_fraction", "kappa", "change_on", "change_off", "alignment_cosine")
ROBUST = ("accuracy_", "certified_accuracy")  # families of accuracies: under attack, under noise, certified
CSV_COLUMNS = ["model", "data", "measure", "mean", "low", "high", "n", "degenerate", "chance", "p", "p_holm", "dz"]
_STEP = 2.0  # ε of the steps that are shown, or the nearest that was measured


@dataclass(frozen=True)
class MinusShuffled(ColumnHead):
    """A measure minus its shuffled control, also where that is not its best control."""

    @property
    def source(self) -> str:
        """The key, for the tooltip of the heading."""
        return f"{self.key} minus {Key.parse(self.key).under(SHUFFLED)}"

    def of(self, trial: Numbers) -> Any:
        """The estimate of a model, or None."""
        return minus_shuffled(trial, self.key)


RANKED_BY = MinusShuffled("F² minus shuffled", FRACTION, "excess", True)


def column_heads(models: Sequence[Numbers]) -> list[ColumnHead]:
    """Columns that at least one model has."""
    keys = list(dict.fromkeys(key for numbers in models for key in numbers["measures"]))
    heads = [ColumnHead("Accuracy", "accuracy")] if "accuracy" in keys else []
    if FRACTION in keys:
        heads += [ColumnHead("F²", FRACTION), RANKED_BY, ColumnHead("F² minus best control", FRACTION, "excess", True)]
    if KAPPA in keys:
        heads.append(ColumnHead("κ (pooled)", KAPPA))
    alignment = alignment_key(keys)
    if alignment:
        name = heading(alignment)
        heads += [ColumnHead(name, alignment), ColumnHead(f"{name}, minus shuffled", alignment, "excess", True)]
    for side, title in (("on", "On-manifold change"), ("off", "Off-manifold change")):
        step = nearest_key(keys, f"change_{side}", _STEP)
        heads += [ColumnHead(f"{title}, ε = {Key.parse(step).setting('eps')}", step)] if step else []
    return heads + [ColumnHead(_robust_title(key), key) for key in keys if Key.parse(key).family.startswith(ROBUST)]


def _robust_title(key: str) -> str:
    """The title of an accuracy under attack or noise: "Accuracy pgd l2, eps = 0.5"."""
    parsed = Key.parse(key)
    rest = str(parsed.of(""))
    return capital(f"{parsed.family.replace('_', ' ')}{', ' + rest.replace('=', ' = ') if rest else ''}")


def table_rows(
    numbers: Mapping[str, Numbers], measured: Mapping[str, Measured], heads: Sequence[ColumnHead]
) -> list[dict[str, Any]]:
    """One row for each model: its range of ranks, its cells, its warnings."""
    ranks = rank_ranges([ranked_by(n) or {} for n in numbers.values()])
    out = []
    for (label, own), rank in zip(numbers.items(), ranks, strict=True):
        regime = own.get("regime")
        name = regime.get("regime") if isinstance(regime, Mapping) else regime
        out.append(
            {
                "label": label,
                "model": measured[label].name,
                "images": len(measured[label].ids),
                "rank": rank,
                "regime": REGIMES[name][0] if name in REGIMES else "",
                "cells": [_cell(head, own) for head in heads],
                "warnings": model_warnings(own),
            }
        )
    return out


def _cell(head: ColumnHead, numbers: Numbers) -> dict[str, Any] | None:
    """An estimate with its text and notes, or None."""
    entry = head.of(numbers)
    if entry is None or entry["mean"] is None:
        return None
    control = entry.get("best_control")
    notes = []
    if control and control != SHUFFLED:
        notes.append(f"over {control.replace('_', ' ')}")
    if entry.get("p_holm") is not None:
        notes.append(f"Holm's p {_p(entry['p_holm'])}")
    return {**entry, "value": entry["mean"], "text": number_or_dash(entry["mean"], 3, head.signed), "notes": notes}


def _p(value: float) -> str:
    return f"= {value:.2g}" if value >= 1e-3 else "< 0.001"


def chance_levels(heads: Sequence[ColumnHead], numbers: Mapping[str, Numbers]) -> list[str]:
    """Chance level of each column, as a range where models differ."""
    out = []
    for head in heads:
        if head.kind == "excess":
            out.append("0")
            continue
        levels = [e["chance"] for n in numbers.values() if (e := head.of(n)) and e.get("chance") is not None]
        low, high = (number(f(levels), 3) for f in (min, max)) if levels else ("–", "–")
        out.append(low if low == high else f"{low} to {high}")
    return out


def control_tables(numbers: Mapping[str, Numbers]) -> list[dict[str, Any]]:
    """F² and the headline alignment beside each of their controls: a table for each measure, a row for each model."""
    keys = list(dict.fromkeys(key for n in numbers.values() for key in n["measures"]))
    alignment = alignment_key(keys)
    out = []
    for key in filter(None, (FRACTION if FRACTION in keys else "", alignment)):
        own = Key.parse(key)
        names = [k.control for k in map(Key.parse, keys) if k.control and k.base == own]
        if not names:
            continue
        table = [
            (
                label,
                [n["measures"].get(k) for k in (key, *(str(own.under(name)) for name in names))],
                n["excess"].get(key),
            )
            for label, n in numbers.items()
        ]
        titles = [(name, control_name(name, own.family)) for name in names]
        out.append({"title": heading(key), "key": key, "names": titles, "rows": table})
    return out


def csv_cells(entry: Numbers) -> list[Any]:
    """The cells of an estimate in the download."""
    return [entry.get(name) for name in CSV_COLUMNS[3:]]
