"""What cause.json says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tangency.cause.match import CalibrationPoint, MatchEntry
from tangency.evaluate.entries import fields_json
from tangency.statistics import CrossedEstimate

Verdict = Literal["holds", "does not hold", "cannot be decided", "no claim"]
Kind = Literal["direction", "tangents"]


@dataclass(frozen=True, kw_only=True)
class ArmEntry:
    """One arm of the matched study.

    Args:
        arm: its name.
        strength: 0 without a penalty.
        seeds: of the networks that were measured; those that diverged are missing.
        accuracy: mean with interval over networks and images.
        radius: geometric mean over networks of the median radius, in [0, 1] pixel units; null where one is not
            positive.
        match: with the base arm; null without a network, and for the base arm itself.
        matched: whether it is the base arm, or matched with it.
    """

    arm: str
    strength: float
    seeds: list[int]
    accuracy: CrossedEstimate | None
    radius: float | None
    match: MatchEntry | None
    matched: bool


@dataclass(frozen=True, kw_only=True)
class DifferenceEntry:
    """off-own minus another arm under one criterion: of cosines, or of log F².

    Args:
        arm: the other one.
        difference: with its interval over networks and images, of this arm alone.
        seed_sd: standard deviation of a network of either arm.
        smallest_found: the true difference that would be found with 80 %; null for one network.
        matched: whether both arms are matched with the base arm; else no claim rests on this.
    """

    arm: str
    difference: CrossedEstimate
    seed_sd: float
    smallest_found: float
    matched: bool


@dataclass(frozen=True, kw_only=True)
class BestEntry:
    """off-own minus the best of the matched shams, with an interval that holds whichever is the best.

    Args:
        sham: the best one.
        mean, low, high: of the difference.
        seed_sd: as of `DifferenceEntry`, with the best sham.
        seed_sds: mean in units of it.
        smallest_found: the true difference to all shams that would be found with 80 %.
    """

    sham: str
    mean: float
    low: float
    high: float
    seed_sd: float
    seed_sds: float
    smallest_found: float


@dataclass(frozen=True, kw_only=True)
class CriterionEntry:
    """What one Bayes direction or one estimator of tangent spaces says.

    Args:
        criterion: target of the direction, or reference of the estimator.
        kind: "direction": cosine of ∇margin with it. "tangents": F² of ∇margin, compared as log F².
        held_out: whether it is of another kind than the guide; only such ones decide.
        column: of the rows.
        margin: difference up to which own spaces are no better than the best sham.
        levels: arm to its mean, of cosines or of F².
        shuffled: arm to the same with another image's direction or tangent space; without arms where not measured.
        differences: off-own minus every other arm.
        best: null without a matched sham.
        verdict: "holds": low > 0 and mean ≥ 3 seed sds. "does not hold": high ≤ margin. "no claim": arms are not
            matched. Else "cannot be decided".
        reason: in words.
    """

    criterion: str
    kind: Kind
    held_out: bool
    column: str
    margin: float
    levels: dict[str, CrossedEstimate]
    shuffled: dict[str, CrossedEstimate]
    differences: list[DifferenceEntry]
    best: BestEntry | None
    verdict: Verdict
    reason: str


@dataclass(frozen=True, kw_only=True)
class CauseResult:
    """A finished causal study.

    Args:
        schema: of this content.
        name, spec_hash, data: of the study.
        guide: reference of the tangent spaces that the penalties project on.
        base: the arm that the others are matched to.
        calibration: every arm at every strength that was tried.
        arms: of the matched study.
        criteria: of the difference between own and sham tangent spaces.
        verdict: "holds" where every held-out criterion says so, "does not hold" where one says that.
        findings: in sentences, all from these numbers.
        common_curves: of the calibration study, one for each Bayes direction, as in summary.json.
        studies: stage to the folder of its ordinary study.
    """

    schema: int
    name: str
    spec_hash: str
    data: str
    guide: str
    base: str
    calibration: list[CalibrationPoint]
    arms: list[ArmEntry]
    criteria: list[CriterionEntry]
    verdict: Verdict
    findings: list[str] = field(default_factory=list)
    common_curves: list[dict[str, Any]] = field(default_factory=list)
    studies: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Strict JSON."""
        return fields_json(self)
