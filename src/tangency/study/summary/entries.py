"""What summary.json holds, as dataclasses: a study fills them, `to_json` writes them, the report reads them back.

Fields stand in the order of the file. A field marked `ABSENT` is left out of the file where it is None; any other None,
and every number that is not finite, is written as null.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tangency.statistics import Estimate, Thresholds, holm

Numbers = list[float | None]
ABSENT = {"absent": True}  # of a field


def to_json(value: Any) -> Any:
    """Entries as strict JSON has them."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    pairs = [(each, getattr(value, each.name)) for each in dataclasses.fields(value)]
    return {each.name: to_json(item) for each, item in pairs if item is not None or "absent" not in each.metadata}


@dataclass(frozen=True, kw_only=True)
class IntervalEntry:
    """A mean with the ends of its 95 % interval, and the number of images it is taken over."""

    mean: float | None
    low: float | None
    high: float | None
    n: int = 0


@dataclass(frozen=True, kw_only=True)
class EstimateEntry(IntervalEntry):
    """The same, with the number of images that have no value."""

    degenerate: int = 0

    @classmethod
    def of(cls, estimate: Estimate, **more: Any) -> Self:
        """An estimate, with the fields that this class has beyond it."""
        return cls(**dataclasses.asdict(estimate), **more)


@dataclass(frozen=True, kw_only=True)
class MeasureEntry(EstimateEntry):
    """A measure, with its chance level; `null` is the central 95 % of it for a random gradient."""

    chance: float | None = None
    null: Numbers | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class ControlEntry(EstimateEntry):
    """A measure minus one of its controls; p and effect size as `evaluate.significance` defines them."""

    p: float | None = field(default=None, metadata=ABSENT)
    dz: float | None = field(default=None, metadata=ABSENT)
    p_holm: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class ExcessEntry(EstimateEntry):
    """A measure minus the best of its controls; `positive` says whether the whole interval is above 0."""

    best_control: str | None = field(default=None, metadata=ABSENT)
    controls: dict[str, ControlEntry] | None = field(default=None, metadata=ABSENT)
    positive: bool | None = field(default=None, metadata=ABSENT)
    p: float | None = field(default=None, metadata=ABSENT)
    dz: float | None = field(default=None, metadata=ABSENT)
    null_sd: float | None = field(default=None, metadata=ABSENT)
    p_holm: float | None = field(default=None, metadata=ABSENT)


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

    thresholds: Thresholds
    epsilon: float = 2.0
    bands: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """The content of summary.json.

    `score` is the card of the study's score, `generation` as `study.generation` has it, and `provenance` versions,
    hashes and settings to be printed as they are.
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
    generation: dict[str, Any] | None = field(default=None, metadata=ABSENT)
    correlations: list[CorrelationEntry] = field(default_factory=list)
    provenance: dict[str, Any]
    unused_networks: int | None = field(default=None, metadata=ABSENT)
    seconds: float | None = field(default=None, metadata=ABSENT)

    def as_json(self) -> dict[str, Any]:
        """The content of the file."""
        content: dict[str, Any] = to_json(self)
        return content


def with_holm(excesses: Sequence[Mapping[str, ExcessEntry]]) -> list[dict[str, ExcessEntry]]:
    """Excesses of several trials or models with `p_holm`: each p adjusted over those that have the same measure."""
    places: dict[tuple[str, str], dict[int, float]] = {}
    for number, own in enumerate(excesses):
        for key, excess in own.items():
            tested: dict[str, ExcessEntry | ControlEntry] = {"": excess, **(excess.controls or {})}
            for name, entry in tested.items():
                places.setdefault((key, name), {})[number] = math.nan if entry.p is None else entry.p
    adjusted = {
        (number, *place): float(p)
        for place, raw in places.items()
        for number, p in zip(raw, holm(list(raw.values())), strict=True)
    }
    return [
        {
            key: dataclasses.replace(
                excess,
                p_holm=adjusted[number, key, ""],
                controls=excess.controls
                and {
                    name: dataclasses.replace(control, p_holm=adjusted[number, key, name])
                    for name, control in excess.controls.items()
                },
            )
            for key, excess in own.items()
        }
        for number, own in enumerate(excesses)
    ]
