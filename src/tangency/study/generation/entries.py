"""What summary.json holds about generated pictures, as dataclasses: a study fills them, the report reads them back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tangency.evaluate.entries import ABSENT, MeasureEntry, fields_json
from tangency.evaluate.generation.qualities import Quality
from tangency.study.summary.sweep_entries import CellMeasureEntry


@dataclass(frozen=True, kw_only=True)
class JudgeEntry:
    """The judge: a saved network, or the architecture, options and seed of one that the study trained."""

    reference: str | None = field(default=None, metadata=ABSENT)
    architecture: str | None = field(default=None, metadata=ABSENT)
    options: dict[str, Any] | None = field(default=None, metadata=ABSENT)
    seed: int | None = field(default=None, metadata=ABSENT)
    accuracy: MeasureEntry
    warning: str


@dataclass(frozen=True, kw_only=True)
class SourceEntry:
    """A reference: how its pictures were made, and their numbers; `set` is empty where none were compared as a set."""

    how: str
    set: dict[str, str | float]
    measures: dict[str, MeasureEntry]
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class GeneratedTrial:
    """A network whose gradients made pictures, and their numbers as those of `SourceEntry`."""

    id: str
    objective: str
    strength: float
    seed: int
    set: dict[str, str | float]
    measures: dict[str, MeasureEntry]
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class GeneratedCell:
    """The networks of one recipe: qualities, and the excess of F² and alignment over shuffled."""

    id: str
    objective: str
    strength: float
    regime: str | None
    trials: list[str]
    measures: dict[str, CellMeasureEntry]
    excess: dict[str, CellMeasureEntry]


@dataclass(frozen=True)
class Correlation:
    """Spearman's ρ over cells, its interval (of the task's unit) and p; None below three cells, and where they tie.

    Args:
        quality: of the pictures.
        against: another number, or "log_strength", over the positive strengths of one objective.
        scope: "all", or an objective.
        n: cells.
    """

    quality: str
    against: str
    scope: str
    rho: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int


@dataclass(frozen=True)
class Peak:
    """Where a number is best over the strengths of one objective.

    Args:
        strength, cell, regime: of the best cell.
        share: of the resamples that have the peak there.
        shares: strength to that share.
        end: "standard" or "largest" where it is the first or the last cell of the sweep.
    """

    strength: float
    cell: str
    regime: str | None
    share: float
    shares: dict[str, float]
    end: str | None


@dataclass(frozen=True, kw_only=True)
class SweepPeaks:
    """Where a quality and other numbers peak over the strengths of one objective.

    Args:
        objective, quality: which.
        peak: of the quality.
        others: name of each other number to its peak; empty where this was read from a file.
        together: the share of resamples in which it is at the same strength as that of the quality; likewise.
        words: a sentence for each other number.
    """

    objective: str
    quality: str
    peak: Peak
    others: dict[str, Peak] = field(default_factory=dict)
    together: dict[str, float] = field(default_factory=dict)
    words: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in summary.json; the other numbers stand beside the peak, by their names."""
        content = fields_json(self)
        others, together, words = (content.pop(name) for name in ("others", "together", "words"))
        return {
            **content,
            **{name: {**peak, "together": together[name]} for name, peak in others.items()},
            "words": words,
        }


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """One task of a study.

    Args:
        qualities: which way each is better.
        networks: of each recipe, S.
        unit: "networks": intervals of cells, correlations and peaks hold for further seeds; "images": S = 1, they are
            about these networks alone. Intervals of references and trials are always over images.
        unavailable: why a quality is missing.
    """

    name: str
    task: str
    count: int
    budget: int
    settings: dict[str, Any]
    qualities: dict[str, str]
    references: dict[str, SourceEntry]
    trials: list[GeneratedTrial]
    networks: int
    unit: str
    cells: list[GeneratedCell]
    alignment: str
    correlations: list[Correlation]
    peaks: list[SweepPeaks]
    unavailable: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class GenerationEntry:
    """All tasks of a study, with their judge."""

    judge: JudgeEntry
    method: str
    about: dict[str, Quality]
    entries: list[TaskEntry]
