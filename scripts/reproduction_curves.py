"""Do all objectives fall on one curve of L against the radius, or against κ? From the shipped rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduction_claims import WORDS
from reproduction_rows import ROWS, PackedSweep, read_study
from tangency.evaluate.verdicts import SweepRows
from tangency.study.summary.common_curve import common_curves

TOGETHER = ("fashion", "fashion-more")  # one data set, one network, one length of training; other objectives
_FITS = {
    "radius": "",
    "κ": "kappa",
    "radius beyond accuracy": "beyond_accuracy",
    "κ beyond accuracy": "kappa_beyond_accuracy",
}
_NUMBERS = ("r2", "low", "high", "r2_out")
_HEAD = """\
R² of one cubic of L (its mean over networks) in the log of the median radius, or in ln κ, over the recipes of
all objectives that have not collapsed; beyond accuracy, of what a line in accuracy leaves. Intervals: a jackknife over
networks. *Left out*: R² of each recipe as the curve through the others predicts it.
"""


def curve_rows(parts: Sequence[str], folder: Path = ROWS) -> list[dict[str, Any]]:
    """R² of one curve over the recipes of all objectives, of each sweep that was run and of those that go together."""
    sweeps = {name: sweep for name in parts if (sweep := read_study(name, folder)) is not None}
    rows = [row for name, sweep in sweeps.items() for row in _rows(name, sweep.rows)]
    if all(name in sweeps for name in TOGETHER):
        rows += _rows(" and ".join(TOGETHER), _together([sweeps[name] for name in TOGETHER]))
    return rows


def _together(sweeps: Sequence[PackedSweep]) -> SweepRows:
    """One sweep of them; the standard networks are those of the first."""
    first = sweeps[0]
    for key in ("data", "dimension", "constant"):
        if any(sweep.about[key] != first.about[key] for sweep in sweeps):
            raise ValueError(f"{key}: got {[sweep.about[key] for sweep in sweeps]}, expected one.")
    recipes = {recipe.name: recipe for sweep in reversed(sweeps) for recipe in sweep.rows.recipes}
    return dataclasses.replace(first.rows, recipes=list(recipes.values()))


def _rows(part: str, rows: SweepRows) -> list[dict[str, Any]]:
    made = []
    for curve in (curve for curve in common_curves(rows) if curve.r2 is not None):
        fits = {words: getattr(curve, name) if name else curve for words, name in _FITS.items()}
        made.append(
            {"part": part, "direction": WORDS[curve.direction], "objectives": curve.objectives}
            | {"cells": curve.cells, "networks": curve.networks}
            | {words: {key: getattr(fit, key) for key in _NUMBERS} for words, fit in fits.items()}
        )
    return made


def curve_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The section of the page."""
    lines = [
        _HEAD,
        f"| part | direction | objectives | recipes | {' | '.join(_FITS)} |",
        f"|---|---|---|---|{'---|' * len(_FITS)}",
    ]
    for row in rows:
        fits = " | ".join(_spoken(row[words]) for words in _FITS)
        objectives = ", ".join(WORDS.get(name, name) for name in row["objectives"])
        lines.append(f"| `{row['part']}` | {row['direction']} | {objectives} | {row['cells']} | {fits} |")
    return lines


def _spoken(fit: Mapping[str, float | None]) -> str:
    if fit["r2"] is None:
        return "–"
    ends = "" if fit["low"] is None else f" [{fit['low']:.3f}, {fit['high']:.3f}]"
    left = "" if fit["r2_out"] is None else f"; left out {fit['r2_out']:.3f}"
    return f"{fit['r2']:.3f}{ends}{left}"
