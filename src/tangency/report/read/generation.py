"""What a study's summary says of its generated pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tangency.report.read.summary import from_json
from tangency.study.summary.entries import MeasureEntry, StudySummary


@dataclass(frozen=True, kw_only=True)
class QualityText:
    """A picture quality: its unit, "higher", "lower" or "neither", and what it is."""

    unit: str
    better: str
    words: str


@dataclass(frozen=True, kw_only=True)
class JudgeEntry:
    """The judge: a saved network, or the architecture, options and seed of one that the study trained."""

    reference: str | None = None
    architecture: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    accuracy: MeasureEntry
    warning: str


@dataclass(frozen=True, kw_only=True)
class SourceEntry:
    """A reference: how its pictures were made, and their qualities."""

    how: str
    measures: dict[str, MeasureEntry]


@dataclass(frozen=True, kw_only=True)
class GeneratedTrial:
    """A network whose gradients made pictures."""

    id: str
    objective: str
    strength: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class GeneratedCell:
    """The networks of one objective and strength: qualities, and the excess of F² and alignment over shuffled."""

    objective: str
    strength: float
    regime: str | None
    measures: dict[str, MeasureEntry]
    excess: dict[str, MeasureEntry]


@dataclass(frozen=True, kw_only=True)
class QualityCorrelation:
    """Spearman's ρ of a quality with F², alignment or log strength, over the cells of all objectives or of one."""

    quality: str
    against: str
    scope: str
    rho: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class PeakEntry:
    """Where a quality peaks, in words."""

    objective: str
    quality: str
    words: str


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """One task of a study; `qualities` says which way each is better, `unavailable` why one is missing."""

    name: str
    task: str
    count: int
    settings: dict[str, Any]
    qualities: dict[str, str]
    references: dict[str, SourceEntry]
    trials: list[GeneratedTrial]
    cells: list[GeneratedCell]
    alignment: str
    correlations: list[QualityCorrelation]
    peaks: list[PeakEntry]
    unavailable: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class GenerationEntry:
    """All tasks of a study, with their judge."""

    judge: JudgeEntry
    method: str
    about: dict[str, QualityText]
    entries: list[TaskEntry]


def generation_of(summary: StudySummary) -> GenerationEntry | None:
    """The generation of a study; None where nothing was generated."""
    if not summary.generation:
        return None
    generation: GenerationEntry = from_json(GenerationEntry, json.dumps(summary.generation), Path("summary.json"))
    return generation
