"""Estimators by name, fitted to images of a world; a new kind is one more row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tangency.errors import SpecError, unknown_name
from tangency.mixtures import Mixture, fit_mixture
from tangency.references import maker_options, parse
from tangency.score import Denoiser, EmpiricalScore, GaussianScore, MixtureScore, load_score
from tangency.score.references import SCORES as TRAINED
from tangency.tangents import Ground, MixtureTangents, TangentEstimator, WorldTangents, open_tangents, pca_tangents
from tangency.tangents.references import ESTIMATORS
from tangency.types import Dataset, LabelledImages
from tangency.worlds import World

Made = TypeVar("Made")


@dataclass(frozen=True)
class Material:
    """A world, its images, and the mixtures fitted to them so far: the input of every estimator."""

    world: World
    train: LabelledImages
    fits: dict[tuple[int, int, int], Mixture] = field(default_factory=dict)

    @property
    def dataset(self) -> Dataset:
        """The images, which stand for the test images too."""
        return Dataset(self.world.name, self.train, self.train)

    def mixture(self, components: int, rank: int, seed: int) -> Mixture:
        """A mixture of factor analysers, fitted once for each choice; rank 0 stands for the intrinsic dimension."""
        key = (components, rank or self.world.intrinsic_dimension, seed)
        if key not in self.fits:
            self.fits[key] = fit_mixture(self.train, *key[:2], seed=seed)[0]
        return self.fits[key]


def _mfa_tangents(material: Material, *, components: int = 2, rank: int = 0, seed: int = 0) -> TangentEstimator:
    return MixtureTangents(material.mixture(components, rank, seed))


def _pca_tangents(material: Material, *, rank: int = 0) -> TangentEstimator:
    return pca_tangents(material.train, rank or material.world.intrinsic_dimension)


def _mfa_score(material: Material, *, components: int = 2, rank: int = 0, seed: int = 0) -> Denoiser:
    return MixtureScore(material.mixture(components, rank, seed))


# name -> maker(material, *, options with defaults); rank 0 stands for the intrinsic dimension.
TANGENTS: dict[str, Callable[..., TangentEstimator]] = {
    "exact": lambda material: WorldTangents(material.world),
    "mfa": _mfa_tangents,
    "pca": _pca_tangents,
}
SCORES: dict[str, Callable[..., Denoiser]] = {
    "exact": lambda material: material.world,
    "mfa": _mfa_score,
    "gaussian": lambda material: GaussianScore(material.train),
    "empirical": lambda material: EmpiricalScore(material.train),
}


def make_tangents(text: str, material: Material) -> TangentEstimator:
    """A tangent estimator by "KIND" or "KIND?option=value&…", fitted to the images; or any other by its reference.

    A denoiser that names no score is the world's own.
    """
    name = text.partition("?")[0]
    if name not in TANGENTS and name.partition(":")[0] in ESTIMATORS:
        return open_tangents(text, Ground(material.dataset, score=material.world))
    return _made(text, "tangents", TANGENTS, material)


def make_score(text: str, material: Material) -> Denoiser:
    """A score by "KIND" or "KIND?option=value&…", fitted to the images; or a trained one, by its file."""
    named = parse(text)
    if text.endswith(".safetensors") or (named.location and named.kind in TRAINED):
        return load_score(text, material.dataset)
    return _made(text, "score", SCORES, material)


def _made(text: str, what: str, table: dict[str, Callable[..., Made]], material: Material) -> Made:
    name, _, query = text.partition("?")
    if name not in table:
        raise SpecError(f"{what} '{text}': {unknown_name(f'kind of {what}', name, table)}")
    return table[name](material, **maker_options(f"{what} '{text}'", query, table[name]))
