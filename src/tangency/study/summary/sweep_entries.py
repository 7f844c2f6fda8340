"""What summary.json says of whole sweeps: recipes, curves over strengths, the thesis, correlations, convergence.

Verdicts on recipes and the thesis are written as the dataclasses of `evaluate.verdicts`. Every interval names its unit:
"networks" where it holds for the recipe, "images" where it is of one network and says nothing of further seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from tangency.evaluate.entries import ABSENT, MeasureEntry, Numbers, plain_number
from tangency.evaluate.verdicts.entries import RecipeVerdict, ThesisVerdict, WorstControl
from tangency.statistics import CrossedEstimate
from tangency.statistics.crossings import Crossing
from tangency.statistics.peaks import InteriorPeak, StrengthMean


@dataclass(frozen=True, kw_only=True)
class CellMeasureEntry(MeasureEntry):
    """A measure of a recipe: mean over networks, of κ and other ratios the geometric one, with its crossed interval.

    Args:
        networks: S.
        unit: "networks" or "images".
        each: the number of each network, in the order of the cell's `seeds`.
    """

    networks: int
    unit: str
    each: Numbers


@dataclass(frozen=True, kw_only=True)
class CellEntry:
    """A recipe: the networks that differ in their seed only.

    Args:
        seeds: of the networks that were measured; those that diverged are missing.
        regime: the label; None for a cell that is not judged, and where it is withheld.
        withheld: why there is no label, in a sentence.
        regime_sensitivity: δ to the label at it.
        verdict: label, reason, and all intervals that they rest on, before anything is withheld; None by rule: kappa.
        measures: key to its number.
    """

    id: str
    objective: str
    strength: float
    seeds: list[int]
    regime: str | None
    regime_sensitivity: dict[str, str | None]
    withheld: str | None = field(default=None, metadata=ABSENT)
    verdict: RecipeVerdict | None = field(default=None, metadata=ABSENT)
    measures: dict[str, CellMeasureEntry]


@dataclass(frozen=True, kw_only=True)
class PointEntry:
    """A level at one strength: mean over networks, its interval (None below three networks), and each network's."""

    strength: float
    mean: float
    low: float | None
    high: float | None
    each: list[float]

    @classmethod
    def of(cls, point: StrengthMean) -> Self:
        """One of `statistics.peaks`."""
        low, high = plain_number(point.low), plain_number(point.high)
        return cls(strength=point.strength, mean=point.mean, low=low, high=high, each=list(point.each))


@dataclass(frozen=True, kw_only=True)
class PeakEntry:
    """Whether a strength between the ends has a larger mean than both, see `statistics.peaks.interior_peak`.

    t, critical and p are None where nothing was tested; `reason` says why.
    """

    shown: bool
    t: float | None
    critical: float | None
    p: float | None
    networks: int
    peak: PointEntry
    ends: list[PointEntry]
    reason: str | None

    @classmethod
    def of(cls, peak: InteriorPeak) -> Self:
        """One of `statistics.peaks`."""
        return cls(
            shown=peak.shown,
            t=plain_number(peak.t),
            critical=plain_number(peak.critical),
            p=plain_number(peak.p),
            networks=peak.networks,
            peak=PointEntry.of(peak.peak),
            ends=[PointEntry.of(end) for end in peak.ends],
            reason=peak.reason,
        )


@dataclass(frozen=True, kw_only=True)
class CrossingEntry:
    """The strength at which a curve first reaches `target`, see `statistics.crossings`.

    A strength is a number, "< t_min" with the smallest positive strength of the grid, or "not reached"; None where it
    is not defined, and `reason` says why. `below` and `not_reached` are confidences of these two cases.
    """

    target: str
    estimate: float | str | None
    low: float | str | None
    high: float | str | None
    below: float | None
    not_reached: float | None
    networks: int
    reason: str | None

    @classmethod
    def of(cls, crossing: Crossing) -> Self:
        """One of `statistics.crossings`."""
        plain = crossing.to_json()
        return cls(**{name: plain[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class DirectionCurveEntry:
    """L under one Bayes direction over the strengths of an objective, the standard network as strength 0.

    Args:
        levels: L at each strength of the curve.
        peak: whether L has a maximum between the ends; None below three strengths.
        t1: where L reaches half of its rise; None, as t2, for a curve without the standard network.
        t2: where L has fallen by `SweepCurveEntry.alignment_drop` past its maximum.
    """

    levels: list[CrossedEstimate]
    peak: PeakEntry | None
    t1: CrossingEntry | None
    t2: CrossingEntry | None


@dataclass(frozen=True, kw_only=True)
class SweepCurveEntry:
    """One objective's sweep over its strengths.

    Args:
        objective: of the cells, as `cells[].objective` or with its options.
        cells: ids, by rising strength, the standard one first.
        seeds: those that all of these cells have; curves are of them alone.
        strengths: of the cells.
        radius: effective strength of each cell: mean over networks of the median of margin/‖∇margin‖₂.
        accuracy: at each strength.
        t2_accuracy: where accuracy has fallen by δ.
        alignment_drop: Δ of `DirectionCurveEntry.t2`, in units of L.
        directions: Bayes direction to L.
        thesis: the paper's thesis under all estimators of the tangent space.
        thesis_by_estimator: the same under each one alone, where there are several.
        withheld: why thesis, peak and change points are not claimed, in a sentence.
        lacks: strengths of which all networks diverged, in words: peak and change points are those of the rest.
    """

    objective: str
    cells: list[str]
    seeds: list[int]
    strengths: list[float]
    radius: Numbers
    accuracy: list[CrossedEstimate]
    t2_accuracy: CrossingEntry | None
    alignment_drop: float
    directions: dict[str, DirectionCurveEntry]
    thesis: ThesisVerdict | None = None
    thesis_by_estimator: dict[str, ThesisVerdict] = field(default_factory=dict)
    withheld: str | None = field(default=None, metadata=ABSENT)
    lacks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CommonFitEntry:
    """R² of one curve of L, its interval over networks (None below three), and R² of cells left out of the fit."""

    r2: float | None
    low: float | None
    high: float | None
    r2_out: float | None


@dataclass(frozen=True, kw_only=True)
class CommonCurveEntry:
    """How much of the differences in L over the cells of all objectives one curve of the radius explains.

    Args:
        direction: of L.
        objectives, cells: that it is fitted to, none of them collapsed; `r2` is None for fewer than two objectives or
            six cells.
        r2: 1 − Σ(L − L̂)²/Σ(L − L̄)², L̂ a cubic in log radius.
        r2_out: the same with each cell predicted from the others.
        low, high: ends of the interval of r2 over networks; None below three.
        networks: seeds that every cell has.
        kappa: the same with a cubic in ln κ of the first estimator.
        beyond_accuracy, kappa_beyond_accuracy: share of what a line in accuracy leaves of L.
    """

    direction: str
    objectives: list[str]
    cells: int
    r2: float | None
    r2_out: float | None
    low: float | None = None
    high: float | None = None
    networks: int = 0
    kappa: CommonFitEntry | None = None
    beyond_accuracy: CommonFitEntry | None = None
    kappa_beyond_accuracy: CommonFitEntry | None = None


@dataclass(frozen=True, kw_only=True)
class ClaimEntry:
    """log F²/control of the headline's recipe under one estimator, against its best control, and its change."""

    name: str
    status: str
    reason: str
    worst: WorstControl | None
    change: WorstControl | None


@dataclass(frozen=True, kw_only=True)
class HeadlineEntry:
    """The recipe that the verdict is about.

    Args:
        recipe: id of the cell.
        trials: ids of its networks.
        baseline: id of the standard cell.
        baseline_trials: ids of its networks.
        rule: how the recipe was chosen, in a sentence.
        regime: its label; None where it is withheld, as `withheld` says.
        unit, networks: of the intervals.
        direction: the Bayes direction under which its L is the least beyond smoothing.
        among: how many recipes and directions it was chosen among.
        alignment, over_standard, over_filter: L under that direction, and its rises; of a chosen maximum, so that the
            level of their intervals is corrected for `among` (Bonferroni).
        estimator: the estimator of the tangent space under which log F²/control is the lowest.
        on_manifold: over all estimators.
        claims: under each estimator, the worst first.
    """

    recipe: str
    trials: list[str]
    baseline: str
    baseline_trials: list[str]
    rule: str
    regime: str | None
    withheld: str | None = field(default=None, metadata=ABSENT)
    unit: str
    networks: int
    direction: str
    among: int = 1
    alignment: CrossedEstimate
    over_standard: CrossedEstimate | None
    over_filter: CrossedEstimate | None
    estimator: str
    on_manifold: str
    claims: list[ClaimEntry]


@dataclass(frozen=True, kw_only=True)
class CorrelationControlEntry:
    """The correlation with a control in place of a target; only own − control, `difference`, is a claim.

    `withheld` says why it is none, as where the control is flat; then interval and p are None.
    """

    rho: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    withheld: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class CorrelationEntry:
    """Rank correlation over the cells of a study, within seeds, of what radius and accuracy leave of two measures.

    Args:
        x, y: keys.
        rho: mean over seeds; None where it is not defined.
        plain: the same with nothing taken out.
        seeds, cells: that it is made from.
        each: of each seed.
        controls: "shuffled" (y with another image's target), "dct" (x with cosine frequencies for tangent space).
    """

    x: str
    y: str
    rho: float | None
    plain: float | None
    seeds: int
    cells: int
    each: Numbers
    controls: dict[str, CorrelationControlEntry]


@dataclass(frozen=True, kw_only=True)
class MovedEntry:
    """How far a number moved when a network was trained twice as long: mean over seeds, of each, and what is allowed.

    `allowed` is two sds of networks, or of one network's images (`unit` "images") where there is one seed.
    """

    change: float | None
    each: Numbers
    allowed: float | None
    unit: str


@dataclass(frozen=True, kw_only=True)
class ConvergenceEntry:
    """A cell of the convergence gate.

    Args:
        cell: id.
        longer: ids of its networks that were trained longer; their rows stand in rows.parquet.
        epochs: of the study and of these.
        log_kappa: change of ln κ.
        fraction: estimator ("" for the first) to change of log F² − log F² of its best control.
        moved: whether one of them moved too far.
        reason: in a sentence.
    """

    cell: str
    longer: list[str]
    epochs: list[int]
    log_kappa: MovedEntry
    fraction: dict[str, MovedEntry]
    moved: bool
    reason: str
