"""Worlds of flat manifolds: one subspace for all classes, and the negative controls with one for each."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures import Mixture
from tangency.numerics import check_rank
from tangency.seeding import Draw
from tangency.worlds.embedding import Embedding, check_size, patterns
from tangency.worlds.gaussians import GaussianCore
from tangency.worlds.world import World

Shape = tuple[int, int, int]
_TINY = 1e-30


def normals(seed: int, purpose: str, *size: int) -> Tensor:
    """Standard normal numbers as a function of (seed, purpose), float64."""
    return Draw(seed, torch.arange(size[0]), purpose).normal(size[1:], torch.float64)


def check_classes(classes: int) -> None:
    """Raise unless there are at least two classes."""
    if classes < 2:
        raise NumericsError(f"classes: got {classes}, expected at least 2.")


def check_positive(**values: float) -> None:
    """Raise unless every value is a positive number of a size that float64 can square and add up."""
    for name, value in values.items():
        if not _TINY <= value <= 1 / _TINY:
            raise NumericsError(f"{name}: got {value}, expected a positive number from {_TINY:g} to {1 / _TINY:g}.")


def check_noise(noise: float) -> None:
    """Raise unless noise is a variance."""
    if noise and not _TINY <= noise <= 1 / _TINY:
        raise NumericsError(
            f"noise: got {noise}, expected 0 or a variance from {_TINY:g} to {1 / _TINY:g} in squared pixel units."
        )


def names(classes: int) -> tuple[str, ...]:
    """Class names of a made-up world."""
    return tuple(f"class {c}" for c in range(classes))


def linear(
    shape: Shape = (1, 16, 16),
    rank: int = 8,
    classes: int = 4,
    components: int = 2,
    separation: float = 0.8,
    noise: float = 1e-4,
    contrast: float = 0.1,
    embedding: str = "smooth",
    seed: int = 0,
) -> World:
    """W1: one subspace for all classes, z|y a Gaussian mixture, x = ½ + scale · U z + √noise n.

    The Bayes gradient lies in span U at every x and σ: Theorem 2 in its purest form.

    Args:
        shape: (C, H, W).
        rank: dimension of the subspace, below C·H·W.
        classes, components: classes, and Gaussians in each.
        separation: spread of the components' means, in standard deviations of a component.
        noise: ψ, variance in squared pixel units; 0 puts the images exactly on the subspace.
        contrast: root mean square of a pixel about ½.
        embedding: "smooth" or "orthogonal" pixel patterns.
        seed: of the world.
    """
    d = math.prod(shape)
    check_rank(rank, d)
    check_classes(classes)
    check_noise(noise)
    check_positive(components=components, separation=separation, contrast=contrast)
    check_size(shape, rank, classes * components)
    k = classes * components
    means = separation * normals(seed, "means", k, rank)
    loadings = 0.6 * normals(seed, "loadings", k, rank, rank) / math.sqrt(rank)
    mixture = Mixture(
        shape=(1, 1, rank),
        means=means - means.mean(0),
        loadings=loadings,
        noise=torch.full((k, rank), 0.4, dtype=torch.float64),
        log_weights=torch.full((k,), -math.log(k), dtype=torch.float64),
        component_class=torch.arange(classes).repeat_interleave(components),
        classes=classes,
    )
    energy = float(mixture.means.square().sum(1).mean() + loadings.square().sum((1, 2)).mean() + 0.4 * rank)
    placed = Embedding(
        shape, patterns(embedding, shape, rank, seed), scale=contrast * math.sqrt(d / energy), noise=noise
    )
    return World("linear", GaussianCore(mixture, whole=True), placed, names(classes))


def offset(
    shape: Shape = (1, 16, 16),
    rank: int = 8,
    classes: int = 3,
    distance: float = 1.0,
    noise: float = 0.0,
    contrast: float = 0.1,
    embedding: str = "smooth",
    seed: int = 0,
) -> World:
    """W2, negative control: parallel subspaces, one for each class, shifted along their common normals.

    Every class has the same law along its subspace, so all that tells classes apart is off the manifold: the Bayes
    gradient is wholly normal, Σ_c w_c offset_c/(ψ + σ²) exactly.

    Args:
        distance: l2 length of a class's offset, in standard deviations along the subspace.
    """
    check_classes(classes)
    check_rank(rank, math.prod(shape))
    check_positive(distance=distance)
    check_size(shape, rank + classes, classes)
    frame = torch.eye(rank + classes, dtype=torch.float64)
    loadings = frame[:, :rank].expand(classes, -1, -1).clone()
    means = distance * frame[:, rank:].mT
    return _negative("offset", shape, loadings, means, noise, contrast, embedding, seed)


def rotated(
    shape: Shape = (1, 16, 16),
    rank: int = 8,
    classes: int = 3,
    angle: float = 15.0,
    noise: float = 0.0,
    contrast: float = 0.1,
    embedding: str = "smooth",
    seed: int = 0,
) -> World:
    """W2, negative control: every class has a subspace of its own through the common mean.

    With `noise` = 0 the Bayes gradient grows as 1/σ², and cos⁴(angle) of its energy is normal to the class's own
    subspace (two classes, σ → 0).

    Args:
        angle: degrees by which every direction of a class's subspace is turned from one that all classes share into
            one of its own, in (0, 90].
    """
    check_classes(classes)
    check_rank(rank, math.prod(shape))
    check_size(shape, rank * (classes + 1), classes)
    if not 0 < angle <= 90:
        raise NumericsError(f"angle: got {angle}, expected degrees above 0 and up to 90.")
    frame = torch.eye(rank * (classes + 1), dtype=torch.float64)
    common, own = frame[:, :rank], frame[:, rank:].reshape(-1, classes, rank).transpose(0, 1)
    turn = math.radians(angle)
    loadings = math.cos(turn) * common + math.sin(turn) * own
    means = torch.zeros(classes, len(frame), dtype=torch.float64)
    return _negative("rotated", shape, loadings, means, noise, contrast, embedding, seed)


def _negative(
    name: str, shape: Shape, loadings: Tensor, means: Tensor, noise: float, contrast: float, embedding: str, seed: int
) -> World:
    classes, n, rank = loadings.shape
    d = math.prod(shape)
    check_rank(rank, d)
    check_noise(noise)
    check_positive(contrast=contrast)
    mixture = Mixture(
        shape=(1, 1, n),
        means=means,
        loadings=loadings,
        noise=torch.zeros(classes, n, dtype=torch.float64),
        log_weights=torch.full((classes,), -math.log(classes), dtype=torch.float64),
        component_class=torch.arange(classes),
        classes=classes,
    )
    placed = Embedding(shape, patterns(embedding, shape, n, seed), scale=contrast * math.sqrt(d / rank), noise=noise)
    return World(name, GaussianCore(mixture), placed, names(classes))
