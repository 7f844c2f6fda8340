"""The numbers of every image and trial: which of them a page holds, in what order, and as what blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.measures.keys import FRACTION, RADIUS, Key
from tangency.measures.registry import ingredients, is_fixed
from tangency.measures.rows import HEAD
from tangency.report.page.blocks import number_block
from tangency.report.read.keys import ORDER
from tangency.report.text.glossary import control_name
from tangency.report.text.measures import describe, parameter_label
from tangency.report.text.numbers import rounded
from tangency.report.text.panels import default_alignment
from tangency.study.summary.entries import TrialEntry

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class ImageTable:
    """The rows of a run as a table (trials, images) for each key.

    Args:
        trials: that the tables have, in the order of the summary.
        ids: (N,) indices of the images in the test split, ascending.
        rows: of these trials.
        place: (rows,) place of each row in a flat table.
    """

    trials: Sequence[TrialEntry]
    ids: np.ndarray
    rows: polars.DataFrame
    place: np.ndarray

    @classmethod
    def of(cls, trials: Sequence[TrialEntry], rows: polars.DataFrame) -> ImageTable:
        """The table of the rows of these trials; rows of others are left out."""
        import polars

        numbers = {trial.id: number for number, trial in enumerate(trials)}
        own = rows.filter(polars.col("trial").is_in(list(numbers)))
        ids, image = np.unique(own["image"].to_numpy(), return_inverse=True)
        trial = own["trial"].replace_strict(numbers, return_dtype=polars.Int64).to_numpy()
        return cls(trials, ids, own, trial * len(ids) + image)

    @property
    def keys(self) -> list[str]:
        """The keys of which there is a number, the measures that a reader looks at first in front."""
        taken = [name for name in self.rows.columns if name not in HEAD and self.rows[name].is_finite().any()]
        first = headline_keys(self.trials)
        return sorted(taken, key=lambda text: (first.index(text) if text in first else len(first), *_rank(text)))

    def values(self, key: str) -> np.ndarray:
        """One key, (trials, images); NaN where nothing was measured."""
        table = np.full(len(self.trials) * len(self.ids), np.nan)
        table[self.place] = self.rows[key].fill_null(float("nan")).to_numpy()
        return table.reshape(len(self.trials), len(self.ids))


@dataclass(frozen=True)
class EmbeddedNumbers:
    """Descriptions of the keys that are embedded, their blocks by name, and the keys that did not fit."""

    keys: list[dict[str, Any]]
    blocks: dict[str, str]
    left_out: list[str]


def headline_keys(trials: Sequence[TrialEntry]) -> list[str]:
    """Accuracy, F² and the alignment of the headline with their controls, and the effective strength."""
    measured = {key for trial in trials for key in trial.measures}
    families = [FRACTION, default_alignment(trials)]
    own = [key for family in families if family for key in (family, *_controls_of(family, measured))]
    return ["accuracy", *own, RADIUS]


def embedded_numbers(table: ImageTable, keys: Iterable[str], budget: int, prefix: str = "") -> EmbeddedNumbers:
    """Blocks of the keys, in their order, while the budget lasts.

    Args:
        table: of the run.
        keys: in the order of their priority.
        budget: bytes of all blocks together.
        prefix: before the names of blocks.
    """
    texts = list(keys)
    entries: list[dict[str, Any]] = []
    blocks: dict[str, str] = {}
    left_out: list[str] = []
    for text in texts:
        block = number_block(table.values(text))
        if len(block) > budget:
            left_out.append(text)
            continue
        budget -= len(block)
        name = f"{prefix}n{len(blocks)}"
        blocks[name] = block
        entries.append(key_entry(Key.parse(text), table.trials) | {"block": name})
    held = [entry["key"] for entry in entries]
    for entry in entries:
        entry["controls"] = [] if entry["control"] else _controls_of(entry["key"], held)
    return EmbeddedNumbers(entries, blocks, left_out)


def key_entry(key: Key, trials: Sequence[TrialEntry]) -> dict[str, Any]:
    """A key in words: title, unit, chance level, which direction is better, and its parts."""
    text = describe(key)
    control = control_name(key.control, key.family) if key.control else ""
    estimator = f"under {key.tangents}" if key.tangents else ""
    chances = (entry.chance for trial in trials if (entry := trial.measures.get(str(key))))
    chance = next((value for value in chances if value is not None), None)
    return {
        "key": str(key),
        "title": ", ".join(part for part in (text.title, parameter_label(key), estimator, control) if part),
        "unit": text.unit,
        "chance": rounded(chance),
        "better": None if text.better == "neither" else text.better,
        "family": key.family,
        "at": parameter_label(key),
        "estimator": key.tangents,
        "control": key.control,
    }


def _controls_of(text: str, among: Iterable[str]) -> list[str]:
    """The keys that are those of a control of this one."""
    return [own for own in among if own != text and str(Key.parse(own).base) == text]


def _rank(text: str) -> tuple[int, int]:
    """Measures before other estimators' before controls before what is the same for all; then as the page has them."""
    key = Key.parse(text)
    aside = is_fixed(key) or key.family in ingredients()
    kind = 3 if aside else 2 if key.control else 1 if key.tangents else 0
    return kind, ORDER.index(key.family) if key.family in ORDER else len(ORDER)
