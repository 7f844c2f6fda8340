"""Estimators of score and tangent spaces on trial, in a world where both are known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.evaluate.numbers import Columns, as_json, plain_number, trial_numbers
from tangency.measures import MeasureConfig, Rows, measure
from tangency.numerics import cosine, flat
from tangency.score import Denoiser
from tangency.seeding import Draw
from tangency.statistics import Estimate, PairedBootstrap
from tangency.tangents import TangentEstimator, WorldTangents
from tangency.theory.coverage import coverage
from tangency.theory.kinds import Material, make_score, make_tangents
from tangency.theory.tilted import TiltedBayes
from tangency.types import OnProgress
from tangency.worlds import World, drawn, make_world

_REPLICATES = 1000


@dataclasses.dataclass(frozen=True)
class TrialConfig:
    """How a trial is held.

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


def trial(
    reference: str,
    tangents: str = "mfa",
    score: str = "mfa",
    config: TrialConfig | None = None,
    progress: OnProgress = lambda title, share: None,
) -> dict[str, Any]:
    """Put a tangent estimator and a score on trial in a world.

    Args:
        reference: of the world.
        tangents, score: kinds, with options behind a question mark.
        config: how large.
        progress: told the title of each part and the share done.

    Returns:
        {"tangents": {angles, overlap, rank, leakage}, "score": [one entry a σ], "measures": {key: truth, bias,
        coverage}}, every mean with a 95 % bootstrap interval over images.
    """
    config = config or TrialConfig()
    world = make_world(reference)
    progress("fitting", 0.0)
    train = drawn(world, config.train, config.seed, name=f"world:{reference}")
    material = Material(world, train)
    fitted_tangents, fitted_score = make_tangents(tangents, material), make_score(score, material)
    progress("angles", 0.2)
    found: dict[str, Any] = {
        "world": reference,
        "about": {"dimension": world.dimension, "intrinsic_dimension": world.intrinsic_dimension},
        "kinds": {"tangents": tangents, "score": score},
        "config": dataclasses.asdict(config),
        "tangents": _angles(world, fitted_tangents, config),
    }
    progress("scores", 0.3)
    found["score"] = [_score_errors(world, fitted_score, sigma, config) for sigma in config.sigmas]
    progress("measures", 0.5)
    found["measures"] = _measures(world, fitted_tangents, fitted_score, config, progress)
    progress("done", 1.0)
    return found


def _estimates(columns: dict[str, Tensor]) -> dict[str, Any]:
    """Mean of each column (N,) with its interval."""
    arrays = {key: values.double().numpy() for key, values in columns.items()}
    boot = PairedBootstrap(len(next(iter(arrays.values()))), _REPLICATES)
    return {
        key: as_json(Estimate.of(boot.mean(a), int(np.isfinite(a).sum()), int((~np.isfinite(a)).sum())))
        for key, a in arrays.items()
    }


def principal_angles(truth: Tensor, found: Tensor) -> Tensor:
    """Angles of each true direction to an estimated space, arcsin of the singular values of (I − P)U, in radians.

    Args:
        truth: (N, d, k) orthonormal columns, float64.
        found: (N, d, m) orthonormal or zero columns, float64.

    Returns:
        (N, k), largest first. Arcsines keep the small angles that arccosines of UᵀV would round to 1e-8.
    """
    rest = truth - found @ (found.mT @ truth)
    return torch.linalg.svdvals(rest).clamp(max=1).asin()


def _angles(world: World, estimator: TangentEstimator, config: TrialConfig) -> dict[str, Any]:
    """Principal angles, overlap against chance, and the ρ₁ that a truly tangent gradient is said to have."""
    sample = world.sample(config.images, config.seed, start=config.train)
    columns: dict[str, list[Tensor]] = {}
    for x, y in zip(sample.x.split(64), sample.y.split(64), strict=True):
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


def _score_errors(world: World, score: Denoiser, sigma: float, config: TrialConfig) -> dict[str, Any]:
    """Denoising error beside the least possible one, and the distance of scores and Bayes gradients, at x ~ p_σ."""
    sample = world.sample(config.images, config.seed, start=config.train)
    ids = torch.arange(config.images)
    x = sample.x + sigma * Draw(config.seed, ids, f"trial at {sigma}").normal(world.shape, torch.float64)
    clean, d = sample.x, world.dimension
    own, best = score.score(x, sigma), world.score(x, sigma)
    columns = {
        "mse": flat(x + sigma**2 * own - clean).square().sum(1) / d,
        "least_mse": flat(x + sigma**2 * best - clean).square().sum(1) / d,
        "excess_mse": sigma**4 * flat(own - best).square().sum(1) / d,
        "score_cosine": cosine(own, best),
        "bayes_cosine": cosine(
            score.bayes_direction(x, sample.y, sigma).direction, world.bayes_direction(x, sample.y, sigma).direction
        ),
    }
    relative = float(flat(own - best).square().sum() / flat(best).square().sum())
    return {"sigma": sigma, "identity": sigma**2, "score_error": relative, **_estimates(columns)}


def _measures(
    world: World, tangents: TangentEstimator, score: Denoiser, config: TrialConfig, progress: OnProgress
) -> dict[str, Any]:
    """Bias and coverage of every measure of a fixed classifier, with the estimators against the exact ones."""
    data = drawn(world, config.population, config.seed, config.train + config.images)  # behind all that was used
    sigma = sorted(config.sigmas)[len(config.sigmas) // 2]
    asked = MeasureConfig(sigmas=(sigma,), rho_sigmas=(0.05,), epsilons=(1.0,), directions=1, metrics=("cosine",))
    classifier = TiltedBayes(world, sigma)

    def rows(tangents: TangentEstimator, score: Denoiser) -> Rows:
        return measure(
            classifier, data.images(), data.labels, train_data=data, score=score, tangents=tangents, config=asked
        )

    truth_rows = rows(WorldTangents(world), world)
    progress("measures", 0.6)
    own_rows = rows(tangents, score)
    progress("coverage", 0.75)
    exact, estimated = _columns(truth_rows), _columns(own_rows)
    boot = PairedBootstrap(config.population, _REPLICATES)
    truth, own = (trial_numbers(c, boot, world.dimension, world.classes) for c in (exact, estimated))
    # a control without partners, as of one tangent space for all images, has neither bias nor coverage
    defined = [{key for key, found in one.estimates.items() if found.n} for one in (truth, own)]
    keys = [key for key in truth.estimates if key in defined[0] & defined[1]]
    truths = {key: truth.estimates[key].mean for key in keys}
    held = coverage(
        estimated,
        truths,
        world.dimension,
        world.classes,
        n=config.n,
        datasets=config.datasets,
        replicates=_REPLICATES // 2,
    )
    return {
        key: {
            "truth": plain_number(truths[key]),
            "bias": as_json(Estimate.of(own.draws[key] - truth.draws[key], own.estimates[key].n)),
            "coverage": plain_number(held[key].share),
            "coverage_error": plain_number(held[key].error),
        }
        for key in keys
    }


def _columns(rows: Rows) -> Columns:
    return {key: values.cpu().numpy() for key, values in rows.columns.items()}
