"""The tiles under the verdict, and the table of all trials at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tangency.measures.keys import FRACTION, KAPPA
from tangency.report.read.keys import RISK, all_keys
from tangency.report.text.glossary import control_name
from tangency.report.text.measures import heading
from tangency.report.text.numbers import estimate
from tangency.report.text.panels import story_keys
from tangency.report.text.trials import regime_label, trial_name

GLANCE = ("accuracy", "fraction", "on", "off", "alignment")  # roles of the story figure, as columns at a glance


def tiles(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """The few numbers under the verdict."""
    headline = summary["headline"]
    if headline is None:
        return []
    control = control_name(headline["tangent_excess"]["best_control"])
    alignment = heading(headline["alignment"])
    rows = (
        ("F² minus best control", headline["tangent_excess"], f"control: {control}"),
        ("Rise of that over standard", headline["tangent_excess_rise"], "paired over images"),
        ("Alignment minus shuffled", headline["alignment_excess"], alignment),
        ("Rise of that over standard", headline["alignment_excess_rise"], "paired over images"),
    )
    return [
        {"label": label, "value": estimate(e, signed=True).partition(" ")[0], "interval": span(e), "note": note}
        for label, e, note in rows
    ]


def span(e: Mapping[str, Any]) -> str:
    """The interval alone, in words."""
    bracket = estimate(e).partition(" ")[2]
    return f"95 % interval {bracket}" if bracket else "no interval"


@dataclass(frozen=True)
class ColumnHead:
    """A column of a table of trials or models: its estimate's place in an entry, and how it is shown.

    Args:
        title: of the column.
        key: of the measure.
        kind: "measures" or "excess" of the entry, or "trial" for a key of the entry itself.
        signed: whether a plus sign is printed.
    """

    title: str
    key: str
    kind: str = "measures"
    signed: bool = False

    @property
    def source(self) -> str:
        """The key, for the tooltip of the heading."""
        return {"excess": f"{self.key}, excess"}.get(self.kind, self.key)

    def of(self, trial: Mapping[str, Any]) -> Any:
        """The estimate of a trial or model, or None."""
        return trial.get(self.key) if self.kind == "trial" else trial[self.kind].get(self.key)


def glance(summary: Mapping[str, Any]) -> dict[str, Any]:
    """All trials by a handful of measures, for the table that works without a script."""
    keys, trials = story_keys(summary), summary["trials"]
    heads = [ColumnHead(heading(keys[role]), keys[role]) for role in GLANCE if role in keys]
    heads.insert(2, ColumnHead("κ (pooled)", KAPPA))
    if any(trial.get(RISK) for trial in trials):
        heads.insert(1, ColumnHead("Error above the Bayes rule", RISK, "trial", signed=True))
    signal = next((str(key) for key in all_keys(trials) if key.family == "signal_fraction" and not key.control), None)
    heads += [ColumnHead(heading(signal), signal)] if signal else []
    alignment = keys.get("alignment", "")
    minus = f"{heading(alignment) if alignment else 'Alignment'}, minus shuffled"
    heads += [
        ColumnHead("F² minus best control", FRACTION, "excess", True),
        ColumnHead(minus, alignment, "excess", True),
    ]
    rows = []
    for trial in trials:
        cells = [head.of(trial) for head in heads]
        rows.append({"trial": trial, "name": trial_name(trial), "label": regime_label(trial), "cells": cells})
    return {"heads": heads, "rows": rows}
