"""Trials of score and tangent-space estimators in a world where both are known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.evaluate.entries import plain_number, to_json
from tangency.evaluate.numbers import Columns, trial_numbers
from tangency.measures import MeasureConfig, measure
from tangency.numerics import cosine, flat
from tangency.score import Denoiser
from tangency.seeding import Draw
from tangency.statistics import Estimate, PairedBootstrap
from tangency.tangents import TangentEstimator, WorldTangents
from tangency.theory.coverage import Coverage, Repetition, coverage
from tangency.theory.kinds import Material, make_score, make_tangents
from tangency.theory.tilted import TiltedBayes
from tangency.types import OnProgress
from tangency.worlds import World, drawn, make_world

_REPLICATES = 1000


@dataclasses.dataclass(frozen=True)
class TrialConfig:
    """Size of a trial.

    Args:
        train: images of the world that the estimators are fitted to.
        images: fresh images that angles and errors are measured on.
        population: images of the population for bias and coverage.
        datasets, n: data sets drawn from the population, and images of each.
        sigmas: noise levels of scores and denoisers, in pixel units.
        seed: of everything.
    """

    train: int = 5000
    images: int = 500
    population: int = 4000
    datasets: int = 300
    n: int = 200
    sigmas: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("train", 10), ("images", 10), ("population", 50), ("datasets", 10), ("n", 10)):
            if getattr(self, name) < least:
                raise NumericsError(f"{name}: got {getattr(self, name)}, expected at least {least}.")
        if not self.sigmas or not all(0 < s < math.inf for s in self.sigmas):
            raise NumericsError(f"sigmas: got {list(self.sigmas)}, expected positive numbers in pixel units.")


@dataclasses.dataclass(frozen=True)
class ScoreErrors:
    """A score at one noise level: ‖ŝ − s‖²/‖s‖² over all images, and means over images with their intervals."""

    sigma: float
    score_error: float
    means: dict[str, Estimate]

    def to_json(self) -> dict[str, object]:
        """As in a trial's JSON."""
        about = {"sigma": self.sigma, "identity": self.sigma**2, "score_error": self.score_error}
        return about | {key: to_json(estimate) for key, estimate in self.means.items()}


@dataclasses.dataclass(frozen=True)
class Bias:
    """A measure with the estimators against the exact ones: its true value, bias, and coverage of its intervals."""

    truth: float
    bias: Estimate
    coverage: Coverage

    def to_json(self) -> dict[str, object]:
        """As in a trial's JSON."""
        return {
            "truth": plain_number(self.truth),
            "bias": to_json(self.bias),
            "coverage": plain_number(self.coverage.share),
            "coverage_error": plain_number(self.coverage.error),
        }


@dataclasses.dataclass(frozen=True)
class EstimatorTrial:
    """Result of a trial; every mean has a 95 % bootstrap interval over images.

    Args:
        world, tangents, score: references of the world and of the estimators.
        dimension, intrinsic_dimension: of the world.
        config: how large the trial was.
        angles: principal angles, overlap, rank and leakage of the tangent spaces.
        scores: one entry a σ.
        measures: measure to its bias and coverage.
    """

    world: str
    tangents: str
    score: str
    dimension: int
    intrinsic_dimension: int
    config: TrialConfig
    angles: dict[str, Estimate]
    scores: list[ScoreErrors]
    measures: dict[str, Bias]

    def to_json(self) -> dict[str, object]:
        """As `tangency worlds trial --json` prints it."""
        return {
            "world": self.world,
            "about": {"dimension": self.dimension, "intrinsic_dimension": self.intrinsic_dimension},
            "kinds": {"tangents": self.tangents, "score": self.score},
            "config": dataclasses.asdict(self.config),
            "tangents": to_json(self.angles),
            "score": to_json(self.scores),
            "measures": to_json(self.measures),
        }


def trial(
    reference: str,
    tangents: str = "mfa",
    score: str = "mfa",
    config: TrialConfig | None = None,
    on_progress: OnProgress = lambda part, share: None,
) -> EstimatorTrial:
    """Test a tangent estimator and a score in a world.

    Args:
        reference: of the world.
        tangents, score: kinds, with options after a question mark.
        config: how large.
        on_progress: called with the name of each part and the share that is done.
    """
    config = config or TrialConfig()
    world = make_world(reference)
    on_progress("fitting", 0.0)
    material = Material(world, drawn(world, config.train, config.seed, name=f"world:{reference}"))
    fitted_tangents, fitted_score = make_tangents(tangents, material), make_score(score, material)
    on_progress("angles", 0.2)
    angles = _angles(world, fitted_tangents, config)
    on_progress("scores", 0.3)
    scores = [_score_errors(world, fitted_score, sigma, config) for sigma in config.sigmas]
    measures = _measures(world, fitted_tangents, fitted_score, config, on_progress)
    on_progress("done", 1.0)
    sizes = world.dimension, world.intrinsic_dimension
    return EstimatorTrial(reference, tangents, score, *sizes, config, angles, scores, measures)


def _estimates(columns: dict[str, Tensor]) -> dict[str, Estimate]:
    """Mean of each column (N,) with its interval."""
    arrays = {key: values.double().numpy() for key, values in columns.items()}
    boot = PairedBootstrap(len(next(iter(arrays.values()))), _REPLICATES)
    finite = {key: int(np.isfinite(a).sum()) for key, a in arrays.items()}
    return {key: Estimate.of(boot.mean(a), finite[key], len(a) - finite[key]) for key, a in arrays.items()}


def principal_angles(truth: Tensor, estimate: Tensor) -> Tensor:
    """Angles of each true direction to an estimated space, arcsin of the singular values of (I − P)U, in radians.

    Args:
        truth: (N, d, k) orthonormal columns, float64.
        estimate: (N, d, m) orthonormal or zero columns, float64.

    Returns:
        (N, k), largest first. Arcsines keep the small angles that arccosines of UᵀV would round to 1e-8.
    """
    rest = truth - estimate @ (estimate.mT @ truth)
    angles: Tensor = torch.linalg.svdvals(rest).clamp(max=1).asin()
    return angles


def _angles(world: World, estimator: TangentEstimator, config: TrialConfig) -> dict[str, Estimate]:
    """Principal angles, overlap against chance, and the ρ₁ that a truly tangent gradient appears to have."""
    sample = world.sample(config.images, config.seed, start=config.train)
    columns: dict[str, list[Tensor]] = {}
    for x, y in zip(torch.split(sample.x, 64), torch.split(sample.y, 64), strict=True):
        truth, rank = world.tangent_basis(x)
        space = estimator.at(x)
        basis = space.basis.double()
        angles = principal_angles(truth, basis)
        inside = (truth.mT @ basis).square().sum((1, 2))
        gradient = world.bayes_direction(x, y, max(config.sigmas)).direction
        along = torch.einsum("ndk,nk->nd", truth, torch.einsum("ndk,nd->nk", truth, flat(gradient)))
        for key, values in {
            "rank": space.rank.double(),
            "true_rank": rank.double(),
            "mean_angle_degrees": torch.rad2deg(angles.sum(1) / rank),
            "largest_angle_degrees": torch.rad2deg(angles[:, 0]),
            "overlap": inside / torch.minimum(space.rank, rank),
            "overlap_chance": torch.maximum(space.rank, rank).double() / world.dimension,
            "leakage_random": angles.sin().square().sum(1) / rank,
            "leakage_worst": angles[:, 0].sin().square(),
            "leakage_bayes": 1 - space.fraction(along.reshape(x.shape)),
        }.items():
            columns.setdefault(key, []).append(values)
    return _estimates({key: torch.cat(parts) for key, parts in columns.items()})


def _score_errors(world: World, score: Denoiser, sigma: float, config: TrialConfig) -> ScoreErrors:
    """Denoising error with the least possible one, and the distance of scores and Bayes gradients, at x ~ p_σ."""
    sample = world.sample(config.images, config.seed, start=config.train)
    ids = torch.arange(config.images)
    x = sample.x + sigma * Draw(config.seed, ids, f"trial at {sigma}").normal(world.shape, torch.float64)
    clean, d = sample.x, world.dimension
    own, best = score.score(x, sigma), world.score(x, sigma)
    bayes = (law.bayes_direction(x, sample.y, sigma).direction for law in (score, world))
    columns = {
        "mse": flat(x + sigma**2 * own - clean).square().sum(1) / d,
        "least_mse": flat(x + sigma**2 * best - clean).square().sum(1) / d,
        "excess_mse": sigma**4 * flat(own - best).square().sum(1) / d,
        "score_cosine": cosine(own, best),
        "bayes_cosine": cosine(*bayes),
    }
    relative = float(flat(own - best).square().sum() / flat(best).square().sum())
    return ScoreErrors(sigma, relative, _estimates(columns))


def _measures(
    world: World, tangents: TangentEstimator, score: Denoiser, config: TrialConfig, on_progress: OnProgress
) -> dict[str, Bias]:
    """Bias and coverage of every measure of a fixed classifier, with the estimators against the exact ones."""
    data = drawn(world, config.population, config.seed, config.train + config.images)  # after all images used so far
    sigma = sorted(config.sigmas)[len(config.sigmas) // 2]
    quick = MeasureConfig(sigmas=(sigma,), rho_sigmas=(0.05,), epsilons=(1.0,), directions=1, metrics=("cosine",))
    classifier, x, y = TiltedBayes(world, sigma), data.images(), data.labels

    def columns(tangents: TangentEstimator, score: Denoiser) -> Columns:
        rows = measure(classifier, x, y, train_data=data, score=score, tangents=tangents, config=quick)
        return {key: values.cpu().numpy() for key, values in rows.columns.items()}

    on_progress("measures", 0.5)
    exact = columns(WorldTangents(world), world)
    on_progress("measures", 0.6)
    estimated = columns(tangents, score)
    on_progress("coverage", 0.75)
    boot = PairedBootstrap(config.population, _REPLICATES)
    truth, own = (trial_numbers(c, boot, world.dimension, world.classes) for c in (exact, estimated))
    # a control without partners, as of one tangent space for all images, has neither bias nor coverage
    keys = [key for key in truth.estimates if truth.estimates[key].n and key in own.estimates and own.estimates[key].n]
    truths = {key: truth.estimates[key].mean for key in keys}
    repetition = Repetition(config.datasets, config.n, _REPLICATES // 2)
    held = coverage(estimated, truths, world.dimension, world.classes, repetition)
    biases = {key: Estimate.of(own.draws[key] - truth.draws[key], own.estimates[key].n) for key in keys}
    return {key: Bias(truths[key], biases[key], held[key]) for key in keys}
