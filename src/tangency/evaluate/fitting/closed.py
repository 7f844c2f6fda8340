"""The closed-form score and its tangent spaces: fitted once and kept, fitted anew, or the exact ones of a world."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from tangency.errors import RunError, SpecError
from tangency.evaluate.entries import to_json
from tangency.evaluate.fitting.posterior import posterior_accuracy
from tangency.mixtures import fit_affordable, load_mixture, save_mixture
from tangency.score import Denoiser, EmpiricalScore, GaussianScore, MixtureScore, denoising_error
from tangency.score.closed.gaussian import LARGEST
from tangency.seeding import permutation
from tangency.tangents import MixtureTangents, TangentEstimator, WorldTangents
from tangency.tensors import read_tensors, write_tensors
from tangency.types import Dataset, LabelledImages
from tangency.worlds import World, world_of

QUALITY_SIGMAS = (0.05, 0.125, 0.25, 0.5)
Estimators = tuple[Denoiser | None, TangentEstimator | None]  # tangent spaces of a mixture or a world


class ScoreSpec(BaseModel):
    """The closed-form score, which gives the tangent spaces too if it is a mixture or exact.

    "mfa" fits a mixture of factor analysers to each class, on `images` training images at most, a fixed random subset;
    "gaussian" fits one Gaussian to all of these, and "empirical" is the images themselves; "exact" is the law of the
    world that data are drawn from; with "none" nothing is fitted, and gradients are compared with no closed form.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mfa", "gaussian", "empirical", "exact", "none"] = "mfa"
    components: int = Field(default=4, ge=1)
    rank: int = Field(default=12, ge=1)
    noise: Literal["isotropic", "diagonal"] = "isotropic"
    images: int = Field(default=10_000, ge=1)
    seed: int = 0


def exact_world(reference: str) -> World:
    """The world that data are drawn from; a `SpecError` where they are real images."""
    world = world_of(reference)
    if world is None:
        raise SpecError(
            f"data: got '{reference}', expected a world such as world:linear: score.kind = exact and bayes = true "
            "need a law that is known. Real images take score.kind = mfa and bayes = false."
        )
    return world


def fit_score(closed: ScoreSpec, reference: str, data: Dataset, path: Path, device: str) -> None:
    """Fit a closed form and write it with its denoising error and the accuracy of its Bayes rule.

    Of the exact law of a world only these two are written.

    Args:
        closed: what is fitted.
        reference: of the data set.
        data: the data set, at the working size.
        path: the file.
        device: where.
    """
    card: dict[str, Any] = closed.model_dump() if closed.kind == "mfa" else {"kind": closed.kind}
    if closed.kind != "mfa":
        score = exact_world(reference).to(device) if closed.kind == "exact" else _without_tangents(closed, data, device)
        card |= {"world": score.name} if isinstance(score, World) else {}
        card |= _quality(score, data, device) if score is not None else {}
        write_tensors(path, {"sigmas": torch.tensor(QUALITY_SIGMAS)}, {"kind": closed.kind, "card": card})
        return
    mixture, report, cut = fit_affordable(
        fitted_images(data, closed), closed.components, closed.rank, noise=closed.noise, seed=closed.seed, device=device
    )
    likelihood = {}
    for name, split in (("train", data.train), ("test", data.test)):
        parts = [mixture.log_density(x.to(device), 0.0) for x in torch.split(split.images(), 512)]
        likelihood[name] = float(torch.cat(parts).mean())
    card |= {
        "seconds": report.seconds,
        "steps": [len(curve) for curve in report.history],
        "dropped_components": report.dropped,
        **({"cut": cut} if cut else {}),
        "log_likelihood": likelihood,
        **_quality(MixtureScore(mixture), data, device),
    }
    save_mixture(mixture, path, {"card": card})


def shares_mixture(closed: ScoreSpec, images: int) -> bool:
    """Whether a closed form of so many training images is the mixture that the reference "mfa" stands for."""
    return closed == ScoreSpec(images=closed.images) and images <= closed.images


def fitted_images(data: Dataset, closed: ScoreSpec) -> LabelledImages:
    """The training images that a mixture is fitted to: all, or a fixed random subset."""
    few = len(data.train) <= closed.images
    return data.train if few else data.train.subset(permutation(len(data.train), 0, "mixture")[: closed.images])


def _quality(score: Denoiser, data: Dataset, device: str) -> dict[str, Any]:
    """Denoising errors, and the accuracy of its Bayes rule, on the test images."""
    accuracy = posterior_accuracy(score, data.test, torch.arange(len(data.test)), QUALITY_SIGMAS, device)
    return {"denoising": _denoising(score, data, device), "posterior_accuracy": to_json(accuracy)}


def _denoising(score: Denoiser, data: Dataset, device: str) -> list[dict[str, float]]:
    """Mean squared denoising error on the test images, beside doing nothing and one Gaussian."""
    others = {"gaussian": GaussianScore(data.train, device)} if math.prod(data.train.shape) <= LARGEST else {}
    levels = []
    for s in QUALITY_SIGMAS:
        errors = {
            name: denoising_error(d, data.test, s, device=device) for name, d in ({"mse": score} | others).items()
        }
        levels.append({"sigma": s, "identity": s**2} | {name: float(error.mean()) for name, error in errors.items()})
    return levels


def score_card(path: Path) -> dict[str, Any]:
    """The card of the score, as `fit_score` wrote it."""
    card = read_tensors(path)[1].get("card")
    if not isinstance(card, dict):
        raise RunError(f"'{path}': says nothing of its score; delete it and run the study again.")
    return card


def _without_tangents(closed: ScoreSpec, data: Dataset, device: str) -> Denoiser | None:
    """A closed form of all images together, or none."""
    if closed.kind == "none":
        return None
    images = fitted_images(data, closed)
    return GaussianScore(images, device) if closed.kind == "gaussian" else EmpiricalScore(images, device)


def estimators(closed: ScoreSpec, reference: str, data: Dataset, path: Path, device: str) -> Estimators:
    """A closed form and its tangent spaces, from the file that `fit_score` wrote."""
    if closed.kind == "exact":
        world = exact_world(reference).to(device)
        return world, WorldTangents(world)
    if closed.kind != "mfa":
        return _without_tangents(closed, data, device), None
    mixture = load_mixture(path, device)[0]
    return MixtureScore(mixture), MixtureTangents(mixture)


def new_estimators(reference: str, data: Dataset, closed: ScoreSpec, device: str) -> Estimators:
    """Score and tangent spaces for data without a study: the law of a world (kind "exact"), else fitted now."""
    world = world_of(reference) if closed.kind == "exact" else None
    if world is not None:
        world = world.to(device)
        return world, WorldTangents(world)
    if closed.kind != "mfa":
        return _without_tangents(closed, data, device), None
    mixture, *_ = fit_affordable(
        fitted_images(data, closed), closed.components, closed.rank, noise=closed.noise, seed=closed.seed, device=device
    )
    return MixtureScore(mixture), MixtureTangents(mixture)
