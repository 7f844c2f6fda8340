"""Tangent spaces by reference: fitted to data, exact, of a score, or from a file."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tangency.errors import ModelError, SpecError, unknown_name
from tangency.mixtures import fit_affordable
from tangency.numerics import check_rank
from tangency.references import Registry, maker_options, makes, positional
from tangency.score import Denoiser, load_score
from tangency.score.references import FITTED
from tangency.tangents.autoencoders.files import load_autoencoder, load_diffusers_autoencoder
from tangency.tangents.autoencoders.spaces import AutoencoderTangents
from tangency.tangents.controls import dct_tangents, pca_tangents, random_tangents
from tangency.tangents.denoiser import DenoiserTangents, KrylovOptions
from tangency.tangents.differences import DenoiserDifferences, DifferenceOptions
from tangency.tangents.exact import WorldTangents
from tangency.tangents.local_pca import LocalPCATangents
from tangency.tangents.mixture import MixtureTangents
from tangency.tangents.score_svd import ScoreSVDTangents
from tangency.tangents.space import TangentEstimator
from tangency.tangents.spectrum import parse_rank
from tangency.tangents.stored import StoredTangents, StoreIndex
from tangency.tensors import digest
from tangency.types import Dataset
from tangency.worlds import world_of


@dataclass
class Ground:
    """What tangent spaces are made of; scores are loaded when first needed, then kept.

    Args:
        data: fitted to its training images.
        device: where they are computed.
        score: of those in `SCORED` where they name none.
        reference: of that score if it is not given.
    """

    data: Dataset
    device: str = "cpu"
    score: Denoiser | None = None
    reference: str = "mfa"
    _scores: dict[str, Denoiser] = field(default_factory=dict)

    def score_of(self, reference: str) -> Denoiser:
        """The score that a reference names, or the one that is there."""
        if not reference and self.score is not None:
            return self.score
        name = reference or self.reference
        if name not in self._scores:
            self._scores[name] = load_score(name, self.data, self.device)
        return self._scores[name]


def _exact(ground: Ground) -> TangentEstimator:
    world = world_of(ground.data.name)
    if world is None:
        raise SpecError(f"tangents 'exact': '{ground.data.name}' is no world, so its manifold is unknown; use mfa.")
    return WorldTangents(world.to(ground.device))


def _mfa(ground: Ground, *, components: int = 4, rank: int = 12, seed: int = 0) -> TangentEstimator:
    return MixtureTangents(fit_affordable(ground.data.train, components, rank, seed=seed, device=ground.device)[0])


def _local_pca(
    ground: Ground, *, neighbours: int = 60, rank: str = "12", most: int = 32, tolerance: float = 0.05
) -> TangentEstimator:
    return LocalPCATangents(ground.data.train, neighbours, parse_rank(rank), most, tolerance, ground.device)


def _denoiser(ground: Ground, *, score: str = "", **options: Any) -> TangentEstimator:
    if "rank" in options:
        options["rank"] = parse_rank(options["rank"])
    return DenoiserTangents(ground.score_of(score), KrylovOptions(**options))


def _declare_fields(maker: Callable[..., object], options: type) -> None:
    """Make the fields of a dataclass keyword-only options of a maker that takes them as **options."""
    own = [p for p in inspect.signature(maker).parameters.values() if p.kind is not p.VAR_KEYWORD]
    fields = [p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(options).parameters.values()]
    fields = [p.replace(default=str(p.default)) if p.name == "rank" else p for p in fields]  # a number or a rule
    maker.__dict__["__signature__"] = inspect.Signature([*own, *fields])


def _differences(ground: Ground, *, score: str = "", **options: Any) -> TangentEstimator:
    if "rank" in options:
        options["rank"] = parse_rank(options["rank"])
    return DenoiserDifferences(ground.score_of(score), DifferenceOptions(**options))


_declare_fields(_denoiser, KrylovOptions)
_declare_fields(_differences, DifferenceOptions)


def _score_svd(
    ground: Ground, *, score: str = "", sigma: float = 0.05, rank: str = "gap", samples: int = 4, seed: int = 0
) -> TangentEstimator:
    return ScoreSVDTangents(ground.score_of(score), sigma, parse_rank(rank), samples, seed)


def _dct(ground: Ground, *, rank: int = 12) -> TangentEstimator:
    return dct_tangents(ground.data.train.shape, rank)


def _pca(ground: Ground, *, rank: int = 12) -> TangentEstimator:
    return pca_tangents(ground.data.train, rank)


def _random(ground: Ground, *, rank: int = 12, seed: int = 0) -> TangentEstimator:
    return random_tangents(ground.data.train.shape, rank, seed)


def _file(ground: Ground, path: str, *, rank: str = "relative", tolerance: float = 0.05) -> TangentEstimator:
    module, card = load_autoencoder(path, ground.device)
    if card.shape != ground.data.train.shape:
        raise ModelError(
            f"tangents '{path}': made for images of {card.shape}, '{ground.data.name}' has {ground.data.train.shape}."
        )
    about = {"weights": digest(module.state_dict())}
    return AutoencoderTangents(module, card.shape, parse_rank(rank), tolerance, about)


def _diffusers(ground: Ground, path: str, *, rank: str = "relative", tolerance: float = 0.05) -> TangentEstimator:
    module, about = load_diffusers_autoencoder(Path(path), ground.data.train.shape)
    module = module.to(ground.device)
    about |= {"weights": digest(module.state_dict())}
    return AutoencoderTangents(module, ground.data.train.shape, parse_rank(rank), tolerance, about)


def _stored(ground: Ground, path: str) -> TangentEstimator:
    return StoredTangents(path, ground.data.test)


SCORED = ("denoiser", "denoiser-differences", "score-svd")  # that take the ground's score where they name none

# name -> maker(ground, *, options with defaults), or (ground, location, *, …) if the reference has a location
ESTIMATORS: Registry[Callable[..., TangentEstimator]] = Registry(
    "tangent spaces",
    "tangency.tangents",
    {
        "exact": _exact,
        "mfa": _mfa,
        "local-pca": _local_pca,
        "denoiser": _denoiser,
        "denoiser-differences": _differences,
        "score-svd": _score_svd,
        "dct": _dct,
        "pca": _pca,
        "random": _random,
        "autoencoder": _file,
        "diffusers": _diffusers,
        "stored": _stored,
    },
    "a function (ground, *, options) or (ground, location, *, options) to a TangentEstimator, options with plain "
    "defaults",
    makes(1, 2),
)


def has_location(name: str) -> bool:
    """Whether a name is one of `ESTIMATORS` that needs a location."""
    return name in ESTIMATORS and positional(ESTIMATORS[name]) == 2


def kind_of(reference: str) -> str:
    """The `kind` of the estimator that a reference stands for, without making it."""
    name = reference.partition("?")[0]
    kind, _, location = name.partition(":")
    if kind == "stored" and location:
        return StoreIndex.read(Path(location)).kind
    if kind in ESTIMATORS.own and has_location(kind):
        return "autoencoder"
    return "autoencoder" if name.endswith(".safetensors") else kind


def check_reference(reference: str, data: Dataset) -> None:
    """Raise where `open_tangents` would for its name, options or rank, before anything is fitted."""
    name, _, query = reference.partition("?")
    kind, _, location = name.partition(":")
    if name in ESTIMATORS and not has_location(name):
        options = maker_options(f"tangents '{reference}'", query, ESTIMATORS[name])
        rank = parse_rank(options["rank"]) if "rank" in options else 1
        check_rank(rank if isinstance(rank, int) else 1, math.prod(data.train.shape))
        if options.get("neighbours", 0) > len(data.train):
            raise SpecError(
                f"tangents '{reference}': got {options['neighbours']} neighbours of {len(data.train)} images, expected "
                "at most that many."
            )
        if name == "exact":
            _exact(Ground(data))
        if (score := str(options.get("score", ""))) and score.partition("?")[0] not in FITTED:
            load_score(score, data)
    elif name.endswith(".safetensors") or (location and has_location(kind)):
        open_tangents(reference, Ground(data))
    else:
        plain = [name for name in ESTIMATORS if name not in ESTIMATORS.own or not has_location(name)]
        known = [*plain, "autoencoder", "autoencoder:FILE.safetensors", "diffusers:DIR", "stored:DIR"]
        raise SpecError(f"tangents: {unknown_name('tangent spaces', name, known)}")


def open_tangents(reference: str, ground: Ground) -> TangentEstimator:
    """Tangent spaces by reference, except those that are trained first (`evaluate.load_tangents` makes these, too).

    Args:
        reference: "mfa", "local-pca", "denoiser", "denoiser-differences", "score-svd", "dct", "pca", "random", fitted
            to the training images (options after a ?, such as rank=12 or rank=gap); "exact", of a world;
            "autoencoder:FILE.safetensors", trained by us; "diffusers:DIR", an `AutoencoderKL` or `AutoencoderTiny`;
            "stored:DIR", of the test images.
        ground: data, device, and the score of the denoisers' where the reference names none.

    Raises:
        SpecError: an unknown name or option.
        ModelError: a file that is no autoencoder, or one of other images.

    Example:
        >>> from tangency.data import load
        >>> open_tangents("local-pca?rank=4&neighbours=20", Ground(load("fashion-mnist-5k"))).max_rank
        4
    """
    name, _, query = reference.partition("?")
    kind, _, location = name.partition(":")
    if location and has_location(kind):
        options = maker_options(f"tangents '{reference}'", query, ESTIMATORS[kind])
        return _estimator(kind, ESTIMATORS[kind](ground, location, **options))
    if name.endswith(".safetensors"):
        return open_tangents(f"autoencoder:{reference}", ground)
    check_reference(reference, ground.data)
    options = maker_options(f"tangents '{reference}'", query, ESTIMATORS[name])
    return _estimator(name, ESTIMATORS[name](ground, **options))


def _estimator(name: str, made: object) -> TangentEstimator:
    """The estimator that a maker made; makers of other packages are checked."""
    if name in ESTIMATORS.own:
        return cast(TangentEstimator, made)
    if not isinstance(made, TangentEstimator):
        raise SpecError(
            f"tangents '{name}': made an object of type {type(made).__name__}, expected a TangentEstimator, with "
            "kind, where, max_rank, card and at(x, ids)."
        )
    return made
