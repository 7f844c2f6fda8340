"""What the figures of generation show, as tables: a header and rows, to be saved beside the figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tangency.evaluate.entries import IntervalEntry
from tangency.measures.keys import FRACTION
from tangency.study.generation.entries import TaskEntry

Table = tuple[list[str], list[list[Any]]]  # header and rows
_NAMED = ["objective", "strength", "regime"]


def quality_table(entry: TaskEntry, shown: Sequence[str]) -> Table:
    """Each shown quality of references, of recipes, and of each network of a recipe (numbered from 0, no interval)."""
    rows: list[list[Any]] = []
    for quality in shown:
        for source, made in entry.references.items():
            if quality in made.measures:
                rows.append([quality, f"reference: {source}", None, None, None, *_ends(made.measures[quality])])
        for cell in (own for own in entry.cells if quality in own.measures):
            named = [quality, cell.objective, cell.strength, cell.regime]
            rows.append([*named, None, *_ends(cell.measures[quality])])
            if entry.networks > 1:
                rows += [[*named, i, value, None, None] for i, value in enumerate(cell.measures[quality].each)]
    return ["quality", *_NAMED, "network", "mean", "low", "high"], rows


def alignment_table(entry: TaskEntry, quality: str) -> Table:
    """The quality of each recipe beside F² and alignment, each minus its shuffled control."""
    keys = {f"{name}_minus_shuffled": key for name, key in (("F2", FRACTION), ("alignment", entry.alignment))}
    rows = [
        [cell.objective, cell.strength, cell.regime, *_ends(cell.measures.get(quality))]
        + [end for key in keys.values() for end in _ends(cell.excess.get(key))]
        for cell in entry.cells
    ]
    columns = [f"{name}{end}" for name in (quality, *keys) for end in ("", "_low", "_high")]
    return [*_NAMED, *columns], rows


def _ends(entry: IntervalEntry | None) -> list[float | None]:
    return [None] * 3 if entry is None else [entry.mean, entry.low, entry.high]
