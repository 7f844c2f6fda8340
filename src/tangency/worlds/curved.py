"""Worlds of curved manifolds: the sphere and the flat torus."""

from __future__ import annotations

import math

import torch

from tangency.errors import NumericsError
from tangency.numerics import unit
from tangency.worlds.embedding import Embedding, check_size, patterns
from tangency.worlds.flat import Shape, check_classes, check_noise, check_positive, names, normals
from tangency.worlds.spheres import SphereCore
from tangency.worlds.world import World

_LARGEST = 1e12  # concentration; beyond, a point of the sphere is known to the last bit


def sphere(
    shape: Shape = (1, 16, 16),
    rank: int = 7,
    classes: int = 4,
    components: int = 1,
    concentration: float = 4.0,
    noise: float = 0.0,
    contrast: float = 0.1,
    embedding: str = "smooth",
    seed: int = 0,
) -> World:
    """W4: the unit sphere of dimension `rank`, von Mises–Fisher classes.

    All classes live on the same manifold, so the Bayes gradient is tangent up to its curvature: the normal part
    vanishes as σ² (and wholly at σ = 0).

    Args:
        rank: dimension of the sphere, which lies in `rank` + 1 pixel patterns.
        concentration: κ of every component, ≥ 0.
        noise: ψ, thickness of the sphere as a variance in squared pixel units.
    """
    return _curved("sphere", shape, 1, rank + 1, classes, components, concentration, noise, contrast, embedding, seed)


def torus(
    shape: Shape = (1, 16, 16),
    rank: int = 6,
    classes: int = 4,
    components: int = 2,
    concentration: float = 2.0,
    noise: float = 0.0,
    contrast: float = 0.1,
    embedding: str = "smooth",
    seed: int = 0,
) -> World:
    """W5: the flat torus (S¹)^rank, classes mixtures of products of von Mises laws."""
    return _curved("torus", shape, rank, 2, classes, components, concentration, noise, contrast, embedding, seed)


def _curved(
    name: str,
    shape: Shape,
    blocks: int,
    b: int,
    classes: int,
    components: int,
    concentration: float,
    noise: float,
    contrast: float,
    embedding: str,
    seed: int,
) -> World:
    d = math.prod(shape)
    check_classes(classes)
    check_noise(noise)
    check_positive(components=components, contrast=contrast)
    if blocks < 1 or b < 2:
        raise NumericsError(f"{name}: got rank {blocks * (b - 1)}, expected at least 1.")
    if not 0 <= concentration <= _LARGEST:
        raise NumericsError(f"concentration: got {concentration}, expected a number from 0 to {_LARGEST:g}.")
    check_size(shape, blocks * b, classes * components)
    k = classes * components
    means = unit(normals(seed, "directions", k * blocks, b)).reshape(k, blocks, b)
    core = SphereCore(
        means=means,
        kappa=torch.full((k, blocks), float(concentration), dtype=torch.float64),
        log_weights=torch.full((k,), -math.log(k), dtype=torch.float64),
        component_class=torch.arange(classes).repeat_interleave(components),
        classes=classes,
    )
    n = blocks * b
    placed = Embedding(shape, patterns(embedding, shape, n, seed), scale=contrast * math.sqrt(d / blocks), noise=noise)
    return World(name, core, placed, names(classes))
