"""The score and the tangent spaces of a study: fitted once and kept, or the exact ones of a world."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from tangency.errors import RunError, SpecError
from tangency.mixtures import fit_affordable, load_mixture, save_mixture
from tangency.score import Denoiser, EmpiricalScore, GaussianScore, MixtureScore, denoising_error
from tangency.score.closed.gaussian import LARGEST
from tangency.seeding import permutation
from tangency.study.spec import ScoreSpec, StudySpec
from tangency.tangents import MixtureTangents, TangentEstimator, WorldTangents
from tangency.tensors import read_tensors, write_tensors
from tangency.types import Dataset, LabelledImages
from tangency.worlds import World, world_of

QUALITY_SIGMAS = (0.05, 0.125, 0.25, 0.5)
Estimators = tuple[Denoiser | None, TangentEstimator | None]  # tangent spaces of a mixture or a world


def exact_world(spec: StudySpec) -> World:
    """The world that a study's data are drawn from; a `SpecError` where they are real images."""
    world = world_of(spec.data)
    if world is None:
        raise SpecError(
            f"data: got '{spec.data}', expected a world such as world:linear: score.kind = exact and bayes = true "
            "need a law that is known. Real images take score.kind = mfa and bayes = false."
        )
    return world


def fit_score(spec: StudySpec, data: Dataset, path: Path, device: str) -> None:
    """Fit the score that a spec asks for, and write it with how good it is; of a world's own, only the latter."""
    asked = spec.score
    card: dict[str, Any] = asked.model_dump() if asked.kind == "mfa" else {"kind": asked.kind}
    if asked.kind != "mfa":
        score = exact_world(spec).to(device) if asked.kind == "exact" else _without_tangents(asked, data, device)
        card |= {"world": score.name} if isinstance(score, World) else {}
        card |= {"denoising": _denoising(score, data, device)} if score is not None else {}
        write_tensors(path, {"sigmas": torch.tensor(QUALITY_SIGMAS)}, {"kind": asked.kind, "card": card})
        return
    mixture, report, cut = fit_affordable(
        fitted_images(data, asked), asked.components, asked.rank, noise=asked.noise, seed=asked.seed, device=device
    )
    likelihood = {}
    for name, split in (("train", data.train), ("test", data.test)):
        parts = [mixture.log_density(x.to(device), 0.0) for x in split.images().split(512)]
        likelihood[name] = float(torch.cat(parts).mean())
    card |= {
        "seconds": report.seconds,
        "steps": [len(curve) for curve in report.history],
        "dropped_components": report.dropped,
        **({"cut": cut} if cut else {}),
        "log_likelihood": likelihood,
        "denoising": _denoising(MixtureScore(mixture), data, device),
    }
    save_mixture(mixture, path, {"card": card})


def fitted_images(data: Dataset, asked: ScoreSpec) -> LabelledImages:
    """The training images that a mixture is fitted to: all, or a fixed random subset."""
    few = len(data.train) <= asked.images
    return data.train if few else data.train.subset(permutation(len(data.train), 0, "mixture")[: asked.images])


def _denoising(score: Denoiser, data: Dataset, device: str) -> list[dict[str, float]]:
    """Mean squared denoising error on the test images, beside doing nothing and one Gaussian."""
    others = {"gaussian": GaussianScore(data.train, device)} if math.prod(data.train.shape) <= LARGEST else {}
    found = []
    for s in QUALITY_SIGMAS:
        errors = {
            name: denoising_error(d, data.test, s, device=device) for name, d in ({"mse": score} | others).items()
        }
        found.append({"sigma": s, "identity": s**2} | {name: float(error.mean()) for name, error in errors.items()})
    return found


def score_card(path: Path) -> dict[str, Any]:
    """What `fit_score` wrote about the score."""
    found = read_tensors(path)[1].get("card")
    if not isinstance(found, dict):
        raise RunError(f"'{path}': says nothing of its score; delete it and run the study again.")
    return found


def _without_tangents(asked: ScoreSpec, data: Dataset, device: str) -> Denoiser | None:
    """A closed form of all images together, or none."""
    if asked.kind == "none":
        return None
    images = fitted_images(data, asked)
    return GaussianScore(images, device) if asked.kind == "gaussian" else EmpiricalScore(images, device)


def estimators(spec: StudySpec, data: Dataset, path: Path, device: str) -> Estimators:
    """The score and the tangent spaces of a study, from the file that `fit_score` wrote."""
    if spec.score.kind == "exact":
        world = exact_world(spec).to(device)
        return world, WorldTangents(world)
    if spec.score.kind != "mfa":
        return _without_tangents(spec.score, data, device), None
    mixture = load_mixture(path, device)[0]
    return MixtureScore(mixture), MixtureTangents(mixture)


def new_estimators(reference: str, data: Dataset, asked: ScoreSpec, device: str) -> Estimators:
    """Score and tangent spaces for data without a study: the law of a world (kind "exact"), else fitted now."""
    world = world_of(reference) if asked.kind == "exact" else None
    if world is not None:
        world = world.to(device)
        return world, WorldTangents(world)
    if asked.kind != "mfa":
        return _without_tangents(asked, data, device), None
    mixture, *_ = fit_affordable(
        fitted_images(data, asked), asked.components, asked.rank, noise=asked.noise, seed=asked.seed, device=device
    )
    return MixtureScore(mixture), MixtureTangents(mixture)
