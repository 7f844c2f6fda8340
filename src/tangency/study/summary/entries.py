"""What summary.json holds, as dataclasses: a study fills them, `to_json` writes them, the report reads them back.

Fields stand in the order of the file; see `evaluate.entries` for how None and numbers that are not finite are written.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from tangency.evaluate.verdicts.entries import RecipeVerdict
from tangency.measures import Calibration
from tangency.statistics import KappaThresholds
from tangency.statistics.regimes import Thresholds
from tangency.study.generation.entries import GenerationEntry
from tangency.study.summary.costs import CostsEntry
from tangency.study.summary.sweep_entries import (
    CellEntry,
    CommonCurveEntry,
    ConvergenceEntry,
    CorrelationEntry,
    HeadlineEntry,
    SweepCurveEntry,
)

SUMMARY_SCHEMA = 2  # 2: labels by Bayes directions and controls, networks as the unit


@dataclass(frozen=True, kw_only=True)
class FilterEntry:
    """The fixed linear filter before a filtered standard network, and what it was chosen from.

    Args:
        name: what `tangency.evaluate.filters.filter_named` rebuilds it from.
        images: training images that it was chosen on, which no verdict uses; accuracy does not count on them.
        slack: by how much another filter of the bank may exceed it in L; None where too few images tell.
        candidates: as `evaluate.filters.FilterCandidate` has them.
    """

    name: str
    images: int
    slack: float | None
    candidates: list[dict[str, Any]]

    @classmethod
    def of(cls, outcome: Mapping[str, Any]) -> FilterEntry | None:
        """That of a trial's outcome; None where it has none."""
        if "filter" not in outcome:
            return None
        return cls(
            name=outcome["filter"],
            images=outcome["chosen_on"]["images"],
            slack=outcome["slack"],
            candidates=outcome["candidates"],
        )


@dataclass(frozen=True, kw_only=True)
class GivenEntry:
    """A given network.

    Args:
        reference: what it was loaded by.
        architecture: of its card.
        reading: how it was read, in sentences.
        warnings: what is doubtful about that, by its accuracy.
    """

    reference: str
    architecture: str
    reading: list[str]
    warnings: list[str]


@dataclass(frozen=True, kw_only=True)
class TrialEntry:
    """One trial: how its training ended, its numbers, and its label against the standard network of its seed.

    Args:
        seconds, cpu_seconds, gpu_seconds: of its training: wall time, processor time, and time on an accelerator.
        learning_rate: at the peak of the schedule; None for a trial that is not trained.
        filter: of a filtered standard network.
        network: what is known of a given network, which was not trained here.
        calibration: its temperature, on test images that are not measured, or why it has no calibrated scalar.
        regime: the label of this one network, images its unit; None for a trial that is not judged, and where the label
            is withheld.
        withheld: why there is no label, in a sentence.
        regime_sensitivity: margin of accuracy to the label at it.
        regime_bands: by rule: kappa.
        verdict: label, reason and intervals, before anything is withheld; None by rule: kappa.
    """

    id: str
    objective: str
    strength: float
    seed: int
    outcome: str
    train_hash: str = ""
    measure_hash: str = ""
    seconds: float | None = None
    cpu_seconds: float | None = field(default=None, metadata=ABSENT)
    gpu_seconds: float | None = field(default=None, metadata=ABSENT)
    epochs: int | None = None
    learning_rate: float | None = field(default=None, metadata=ABSENT)
    filter: FilterEntry | None = field(default=None, metadata=ABSENT)
    network: GivenEntry | None = field(default=None, metadata=ABSENT)
    calibration: Calibration | None = field(default=None, metadata=ABSENT)
    measures: dict[str, MeasureEntry] = field(default_factory=dict)
    excess: dict[str, ExcessEntry] = field(default_factory=dict)
    excess_risk: EstimateEntry | None = field(default=None, metadata=ABSENT)
    regime: str | None = None
    withheld: str | None = field(default=None, metadata=ABSENT)
    regime_sensitivity: dict[str, str | None] = field(default_factory=dict)
    regime_bands: dict[str, Numbers] | None = None
    verdict: RecipeVerdict | None = field(default=None, metadata=ABSENT)


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
class TangentsEntry:
    """The estimators of the tangent space; what each says of the headline stands in `headline.claims`."""

    estimators: list[EstimatorEntry]


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
    """The rule that labelled trials and cells.

    Args:
        rule: "regimes", or "kappa" for the former one.
        order: of the tests, in words; none by rule: kappa.
        thresholds: of rule: regimes.
        kappa: of rule: kappa.
        epsilon: step length at which rule: kappa judges the on-manifold change.
        constant: accuracy of the best constant answer on the measured images.
        bands: how intervals are made.
        text: what a label is a statement about.
    """

    rule: str
    order: list[str] = field(default_factory=list)
    thresholds: Thresholds | None = field(default=None, metadata=ABSENT)
    kappa: KappaThresholds | None = field(default=None, metadata=ABSENT)
    epsilon: float | None = field(default=None, metadata=ABSENT)
    constant: float
    bands: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ShamEntry:
    """A sham of tangent spaces that objectives are given, and the mean overlap tr(P_own P_sham)/k with these."""

    tangents: str
    sham: str
    overlap: float


@dataclass(frozen=True, kw_only=True)
class GuidesEntry:
    """What objectives are given besides numbers.

    Args:
        fraction: share of the training images that is kept for guides.
        images: how many these are.
        references: of the guides, by kind.
        shams: of the tangent spaces among them.
    """

    fraction: float
    images: int
    references: dict[str, list[str]]
    shams: list[ShamEntry]


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """The content of summary.json.

    `absent` says in sentences which cells have no network, and which objectives no curve. `score` is the card of the
    study's score, and `provenance` versions, hashes and settings to be printed as they are. `seconds` is the time of
    all runs of this spec, `costs` what all jobs in the folder took. `controls` says of each tag in the ids of trials
    what they change in the recipe of the study.
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
    curves: list[SweepCurveEntry] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    common_curves: list[CommonCurveEntry] = field(default_factory=list)
    convergence: list[ConvergenceEntry] = field(default_factory=list)
    regimes: RegimesEntry
    tangents: TangentsEntry | None = field(default=None, metadata=ABSENT)
    generation: GenerationEntry | None = field(default=None, metadata=ABSENT)
    correlations: list[CorrelationEntry] = field(default_factory=list)
    provenance: dict[str, Any]
    controls: dict[str, str] | None = field(default=None, metadata=ABSENT)
    guides: GuidesEntry | None = field(default=None, metadata=ABSENT)
    unused_networks: int | None = field(default=None, metadata=ABSENT)
    seconds: float | None = field(default=None, metadata=ABSENT)
    costs: CostsEntry | None = field(default=None, metadata=ABSENT)

    def to_json(self) -> dict[str, Any]:
        """The content of the file."""
        return fields_json(self)
