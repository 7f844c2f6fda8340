"""What summary.json holds, as dataclasses: a study fills them, `to_json` writes them, the report reads them back.

Fields stand in the order of the file; see `evaluate.entries` for how None and numbers that are not finite are written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tangency.evaluate.entries import (
    ABSENT,
    EstimateEntry,
    ExcessEntry,
    IntervalEntry,
    MeasureEntry,
    Numbers,
    fields_json,
)
from tangency.statistics import KappaThresholds
from tangency.study.generation.entries import GenerationEntry


@dataclass(frozen=True, kw_only=True)
class TrialEntry:
    """One trial: how its training ended, its numbers, and its regime against the standard network of its seed."""

    id: str
    objective: str
    strength: float
    seed: int
    outcome: str
    train_hash: str = ""
    measure_hash: str = ""
    seconds: float | None = None
    epochs: int | None = None
    measures: dict[str, MeasureEntry] = field(default_factory=dict)
    excess: dict[str, ExcessEntry] = field(default_factory=dict)
    excess_risk: EstimateEntry | None = field(default=None, metadata=ABSENT)
    regime: str | None = None
    regime_sensitivity: dict[str, str | None] = field(default_factory=dict)
    regime_bands: dict[str, Numbers] | None = None


@dataclass(frozen=True, kw_only=True)
class CellEntry:
    """The trials that differ in their seed only, taken together."""

    id: str
    objective: str
    strength: float
    seeds: list[int]
    regime: str | None
    regime_sensitivity: dict[str, str | None]
    measures: dict[str, MeasureEntry]


@dataclass(frozen=True, kw_only=True)
class RawRiseEntry:
    """Rises over the standard network with no control subtracted."""

    tangent_fraction: IntervalEntry
    alignment: IntervalEntry


@dataclass(frozen=True, kw_only=True)
class HeadlineEntry:
    """The trial that the verdict is about, compared with its baseline image by image."""

    trial: str
    baseline: str
    rule: str
    tangent_excess: ExcessEntry
    tangent_excess_rise: EstimateEntry
    alignment: str
    alignment_excess: EstimateEntry
    alignment_excess_rise: EstimateEntry
    raw_rise: RawRiseEntry


@dataclass(frozen=True, kw_only=True)
class WorldEntry:
    """The world that the images are drawn from; `undefined` says of each missing quantity why there is none."""

    name: str
    dimension: int
    intrinsic_dimension: int
    undefined: dict[str, str] = field(default_factory=dict)
    bayes_accuracy: IntervalEntry | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class CurveEntry:
    """A mean with its band at each σ."""

    mean: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True, kw_only=True)
class NoiseCurveEntry:
    """One trial's ratio with its band at each σ, and its difference from the standard network of its seed."""

    ratio: Numbers
    low: Numbers
    high: Numbers
    minus_standard: CurveEntry | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class NoiseCurvesEntry:
    """Relative noise robustness against σ, by trial; empty where no grid of σ was measured."""

    sigmas: list[float] | None = field(default=None, metadata=ABSENT)
    level: float | None = field(default=None, metadata=ABSENT)
    trials: dict[str, NoiseCurveEntry] | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class EstimatorEntry:
    """An estimator of the tangent space, with its mean rank."""

    name: str
    kind: str
    reference: str
    rank: float


@dataclass(frozen=True, kw_only=True)
class ClaimEntry:
    """F² minus its best control under one estimator, and its rise over the baseline."""

    name: str
    trial: str
    baseline: str
    excess: ExcessEntry
    rise: EstimateEntry


@dataclass(frozen=True, kw_only=True)
class TangentsEntry:
    """The paper's claim under every estimator; no claim where no trial is weak or Bayes-aligned."""

    estimators: list[EstimatorEntry]
    claim: list[ClaimEntry]


@dataclass(frozen=True, kw_only=True)
class RankCorrelationEntry:
    """Spearman's ρ with its interval and p over n cells."""

    rho: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class CorrelationEntry:
    """Spearman's ρ of two measures, and with y minus its shuffled control."""

    x: str
    y: str
    raw: RankCorrelationEntry
    minus_control: RankCorrelationEntry


@dataclass(frozen=True, kw_only=True)
class DataEntry:
    """The images, with how many were trained on and measured; `working` is a sentence on the size, if not their own."""

    name: str
    digest: str
    classes: list[str]
    shape: list[int]
    train: int
    measured: int
    licence: str
    working: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class RegimesEntry:
    """The rule that labelled the trials."""

    thresholds: KappaThresholds
    epsilon: float = 2.0
    bands: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """The content of summary.json.

    `score` is the card of the study's score, and `provenance` versions, hashes and settings to be printed as they are.
    """

    schema: int
    name: str
    spec_hash: str
    data: DataEntry
    score: dict[str, Any]
    headline: HeadlineEntry | None = None
    trials: list[TrialEntry]
    world: WorldEntry | None = None
    noise_curves: NoiseCurvesEntry = field(default_factory=NoiseCurvesEntry)
    cells: list[CellEntry] = field(default_factory=list)
    regimes: RegimesEntry
    tangents: TangentsEntry | None = field(default=None, metadata=ABSENT)
    generation: GenerationEntry | None = field(default=None, metadata=ABSENT)
    correlations: list[CorrelationEntry] = field(default_factory=list)
    provenance: dict[str, Any]
    unused_networks: int | None = field(default=None, metadata=ABSENT)
    seconds: float | None = field(default=None, metadata=ABSENT)

    def to_json(self) -> dict[str, Any]:
        """The content of the file."""
        return fields_json(self)
