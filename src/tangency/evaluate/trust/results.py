"""What validations of scores and of tangent spaces find, and the JSON that it is written as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tangency.evaluate.entries import ExcessEntry, fields_json, to_json
from tangency.statistics import Estimate, Excess


@dataclass(frozen=True)
class Identities:
    """Identities that every score keeps, at one noise level: with intervals, or the largest z-value of its parts."""

    stein: Estimate
    stein_z: float | None
    mean_score_z: float | None
    mean_score_comparisons: int
    score_image_z: float | None
    score_image_comparisons: int
    asymmetry: Estimate
    sure: Estimate
    sure_minus_error: Estimate
    sure_z: float | None
    dimension: Estimate


@dataclass(frozen=True)
class ClassGradient:
    """The Bayes gradient of a score; None for what is not known: a closed form takes no difference."""

    signal_to_noise: float | None
    resolved: float | None
    cosine_noisy: Estimate | None
    cosine_clean: Estimate | None


@dataclass(frozen=True)
class RelativeError:
    """‖s − s*‖/‖s*‖, pooled, at noisy images, where a network was trained, and at clean ones, where it is used."""

    noisy: Estimate
    clean: Estimate


@dataclass(frozen=True)
class EffectiveImages:
    """How many training images carry the empirical score; few are not to be trusted."""

    median: float
    trusted: bool


@dataclass(frozen=True)
class NoiseLevel:
    """All that is said of one noise level σ; `gain` is the error of each baseline minus the score's own."""

    sigma: float
    mse: Estimate
    mse_given_class: Estimate | None
    identity: float
    baselines: dict[str, Estimate]
    gain: dict[str, Estimate]
    better_than: list[str]
    worse_than: list[str]
    effective_images: EffectiveImages | None
    identities: Identities
    bayes_gradient: ClassGradient | None
    score_error: RelativeError | None


@dataclass(frozen=True)
class NearestDistances:
    """Median distance to the nearest training image, of samples and of held-out images."""

    median: float
    held_out: float


@dataclass(frozen=True)
class Copies:
    """Share of samples nearer to a training image than 99 % of new images are, by chance, and the p-value of more."""

    share: float
    chance: float
    p: float


@dataclass(frozen=True)
class SampleCheck:
    """Images drawn from a score: how near to training images, how far from held-out ones."""

    count: int
    sampler: dict[str, object]
    nearest_training_image: NearestDistances
    copies: Copies | None
    kid: dict[str, object] | None


@dataclass(frozen=True)
class ScoreVerdict:
    """In words, and the σ at which a score is better than everything that it was compared with."""

    better_at: list[float]
    compared_with: list[str]
    doubts: int
    words: str


@dataclass(frozen=True)
class ScoreExamination:
    """The validation of a score; `unavailable` says of baselines that cannot be fitted why."""

    score: dict[str, object]
    conditional: bool
    data: str
    images: int
    probed: int
    noise_levels: list[NoiseLevel]
    unavailable: dict[str, str]
    samples: SampleCheck | None
    verdict: ScoreVerdict
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As it stands in score.json and in a summary."""
        content = fields_json(self)
        return content | {"samples": content["samples"] or {}}


@dataclass(frozen=True)
class RankRange:
    """Ranks of the tangent spaces of one estimator."""

    mean: float
    least: float
    most: float


@dataclass(frozen=True)
class ProbeShare:
    """Share of a known direction in the tangent spaces, and its excess over the controls of equal rank."""

    share: Estimate
    excess: Excess

    def to_json(self) -> dict[str, Any]:
        """The share, its excess over the best control, and over each."""
        over_best = ExcessEntry.of(self.excess.estimate, best_control=self.excess.best)
        return {
            "share": to_json(self.share),
            "excess": to_json(over_best),
            "controls": to_json(self.excess.controls),
        }


@dataclass(frozen=True)
class WorldError:
    """Principal angles (degrees) to the true tangent spaces of a world, and leakage; or why there are none."""

    world: str = ""
    unavailable: str = ""
    mean_angle: float | None = None
    largest_angle: float | None = None
    leakage: float | None = None

    def to_json(self) -> dict[str, Any]:
        """What is known of it."""
        return {name: value for name, value in vars(self).items() if value not in ("", None)}


@dataclass(frozen=True)
class EstimatorCheck:
    """The validation of one estimator: shares by probe, errors by world; None for what it does not say."""

    name: str
    reference: str
    kind: str
    where: str
    rank: RankRange
    residual: Estimate | None
    asymmetry: Estimate | None
    gap: float | None
    reach: float | None
    shares: dict[str, ProbeShare]
    floor: dict[str, WorldError]

    def to_json(self) -> dict[str, Any]:
        """With the shares by the names of their probes."""
        content = fields_json(self)
        shares, floor = content.pop("shares"), content.pop("floor")
        return {**content, **shares, "floor": floor}


@dataclass(frozen=True)
class PairAgreement:
    """Overlap and principal angles (degrees) of two estimators."""

    first: str
    second: str
    overlap: Estimate
    chance: Estimate
    mean_angle: Estimate
    largest_angle: Estimate


@dataclass(frozen=True)
class TangentVerdict:
    """Which estimators beat every control of equal rank, by probe; and how far they agree, in words."""

    beats_every_control: dict[str, list[str]]
    words: str


@dataclass(frozen=True)
class TangentExamination:
    """The validation of several estimators of the tangent space."""

    data: str
    images: int
    dimension: int
    estimators: list[EstimatorCheck]
    agreement: list[PairAgreement]
    verdict: TangentVerdict

    def to_json(self) -> dict[str, Any]:
        """As it stands in tangents.json."""
        return fields_json(self)
