"""Columns of made-up sweeps whose truth is known: networks share the difficulty of their images, as real ones do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tangency.evaluate.verdicts import Recipe, SweepRows

IMAGES, DIMENSION, RANK = 400, 64, 4
CLOSED = "alignment_cosine.margin.bayes_gradient.sigma=0.25"
TRAINED = "alignment_cosine.margin.network_bayes_gradient.sigma=0.25"
FRACTION = "tangent_fraction.margin"
CONTROLS = {"shuffled": 0.15, "shuffled_class": 0.2, "dct": 0.2, "pca": 0.25, "phase": 0.15}


@dataclass(frozen=True)
class Truth:
    """What a recipe really is; L under both directions, and F² with its controls."""

    alignment: float = 0.1
    trained: float | None = None
    accuracy: float = 0.9
    fraction: float = 0.15
    controls: Mapping[str, float] = field(default_factory=dict)
    spread: float = 0.003  # of network means
    radius: float = 0.5


def _values(rng: np.random.Generator, level: float, shared: np.ndarray, spread: float) -> np.ndarray:
    noise = rng.normal(size=len(shared))
    return level + spread * rng.normal() + 0.05 * shared + 0.02 * (noise - noise.mean())


def columns(truth: Truth, rng: np.random.Generator, images: np.ndarray) -> dict[str, np.ndarray]:
    """Of one network; images (6, N) are standard normal and the same for all networks."""
    n = images.shape[1]
    level = truth.alignment
    made = {
        "accuracy": (0.8 * images[0] + 0.6 * rng.normal(size=n) < _quantile(truth.accuracy)).astype(float),
        "radius": truth.radius + 0.1 * images[1] + 0.01 * rng.normal(size=n),
        CLOSED: _values(rng, 0.1 + level, images[2], truth.spread),
        f"{CLOSED}.shuffled": _values(rng, 0.1, images[3], 0.0),
        FRACTION: _values(rng, truth.fraction, images[5] / 5, truth.spread / 3),
        "tangent_rank": np.full(n, float(RANK)),
        "direction_agreement.sigma=0.25": 0.2 + 0.02 * images[4],
    }
    trained = level if truth.trained is None else truth.trained
    made[TRAINED] = _values(rng, 0.05 + trained, images[4], truth.spread)
    made[f"{TRAINED}.shuffled"] = _values(rng, 0.05, images[3], 0.0)
    for name, fraction in {**CONTROLS, **truth.controls}.items():
        made[f"{FRACTION}.{name}"] = _values(rng, fraction, images[5] / 5, 0.0)
        if name != "phase":
            made[f"tangent_overlap.{name}"] = np.full(n, 0.3)
    return made


def _quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))


def shared_images(n: int = IMAGES, seed: int = 0) -> np.ndarray:
    """(6, n) effects with mean 0 and variance 1 exactly, so that truths are the means of these images."""
    effects = np.random.default_rng(seed).normal(size=(6, n))
    effects -= effects.mean(1, keepdims=True)
    return effects / effects.std(1, keepdims=True)


def recipe(name: str, truth: Truth, objective: str = "pgd", strength: float = 1.0, seeds: int = 5) -> Recipe:
    """A recipe of some seeds."""
    images = shared_images()
    networks = {seed: columns(truth, np.random.default_rng([seed, *name.encode()]), images) for seed in range(seeds)}
    return Recipe(name, objective, strength, networks)


def sweep(truths: Mapping[str, Truth], seeds: int = 5, filtered: float | None = 0.14, **more: object) -> SweepRows:
    """A standard recipe of L = .1, the named ones at strengths 1, 2 …, and a filtered standard of L `filtered`."""
    standard = recipe("standard", Truth(), "standard", 0.0, seeds)
    others = [recipe(name, truth, strength=i + 1.0, seeds=seeds) for i, (name, truth) in enumerate(truths.items())]
    behind = {
        target: recipe("pca-50", Truth(alignment=filtered or 0.0), "standard", 0.0, seeds)
        for target in (("bayes_gradient", "network_bayes_gradient") if filtered is not None else ())
    }
    return SweepRows([standard, *others], constant=0.1, dimension=DIMENSION, filtered=behind, **more)  # type: ignore[arg-type]
