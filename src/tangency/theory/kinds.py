"""Estimators by name, fitted to images of a world: a later kind joins by adding a row."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from tangency.errors import SpecError, unknown_name
from tangency.mixtures import fit_mixture
from tangency.score import Denoiser, MixtureScore
from tangency.tangents import MixtureTangents, TangentEstimator, TangentSpace, WorldTangents, pca_basis
from tangency.types import LabelledImages
from tangency.worlds import World


@final
class GlobalPCA:
    """One subspace for all images: the leading principal directions. What any estimator must beat."""

    kind = "pca"

    def __init__(self, basis: Tensor) -> None:
        self._basis = basis

    @property
    def max_rank(self) -> int:
        """Its dimension."""
        return self._basis.shape[1]

    def at(self, x: Tensor) -> TangentSpace:
        """The same subspace at every x (N, C, H, W)."""
        rank = torch.full((len(x),), self.max_rank, device=x.device)
        return TangentSpace.shared(self._basis.to(x), rank)


def _mixture(world: World, train: LabelledImages, components: int, rank: int, seed: int) -> Any:
    return fit_mixture(train, components, rank or world.intrinsic_dimension, seed=seed)[0]


def _exact_tangents(world: World, train: LabelledImages) -> TangentEstimator:
    return WorldTangents(world)


def _mfa_tangents(
    world: World, train: LabelledImages, *, components: int = 2, rank: int = 0, seed: int = 0
) -> TangentEstimator:
    return MixtureTangents(_mixture(world, train, components, rank, seed))


def _pca_tangents(world: World, train: LabelledImages, *, rank: int = 0) -> TangentEstimator:
    return GlobalPCA(pca_basis(train, rank or world.intrinsic_dimension))


def _exact_score(world: World, train: LabelledImages) -> Denoiser:
    return world


def _mfa_score(world: World, train: LabelledImages, *, components: int = 2, rank: int = 0, seed: int = 0) -> Denoiser:
    return MixtureScore(_mixture(world, train, components, rank, seed))


# name -> maker(world, training images, *, options with defaults); rank 0 stands for the intrinsic dimension.
TANGENTS: dict[str, Callable[..., TangentEstimator]] = {
    "exact": _exact_tangents,
    "mfa": _mfa_tangents,
    "pca": _pca_tangents,
}
SCORES: dict[str, Callable[..., Denoiser]] = {"exact": _exact_score, "mfa": _mfa_score}


def make_tangents(text: str, world: World, train: LabelledImages) -> TangentEstimator:
    """A tangent estimator by "KIND" or "KIND?option=value&…", fitted to the images."""
    made: TangentEstimator = _made(text, "tangents", TANGENTS, world, train)
    return made


def make_score(text: str, world: World, train: LabelledImages) -> Denoiser:
    """A score by "KIND" or "KIND?option=value&…", fitted to the images."""
    made: Denoiser = _made(text, "score", SCORES, world, train)
    return made


def _made(text: str, what: str, table: dict[str, Callable[..., Any]], world: World, train: LabelledImages) -> Any:
    name, _, query = text.partition("?")
    if name not in table:
        raise SpecError(f"{what} '{text}': {unknown_name(f'kind of {what}', name, table)}")
    known = {key: p.default for key, p in inspect.signature(table[name]).parameters.items() if p.kind is p.KEYWORD_ONLY}
    options: dict[str, int] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in known:
            raise SpecError(f"{what} '{text}': {unknown_name('option', key, known) if known else 'takes no options.'}")
        if not value.isdecimal():
            raise SpecError(f"{what} '{text}': {key}={value}, expected a whole number such as {key}={known[key]}.")
        options[key] = int(value)
    return table[name](world, train, **options)
