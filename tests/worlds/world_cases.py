"""Small worlds of every kind, their references, and images at a noise level; made once."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from support import make_mixture
from tangency.numerics import unit
from tangency.seeding import Draw
from tangency.worlds import Embedding, GaussianCore, SphereCore, World, make_world
from tangency.worlds.embedding import patterns
from worlds.world_reference import Reference, reference_of

BY_REFERENCE = {
    "linear": "linear?rank=3&classes=3&shape=1x5x7",
    "linear without noise": "linear?rank=3&classes=2&noise=0&embedding=orthogonal&shape=3x2x5",
    "offset": "offset?rank=2&classes=3&shape=1x4x5",
    "thick offset": "offset?rank=2&classes=2&noise=0.001&shape=1x3x4&embedding=orthogonal",
    "rotated": "rotated?rank=2&classes=3&shape=1x4x5",
    "circle": "sphere?rank=1&classes=2&components=2&shape=1x3x4",
    "sphere": "sphere?rank=2&classes=3&shape=1x3x5",
    "thick sphere": "sphere?rank=2&classes=2&noise=0.001&shape=1x3x4&embedding=orthogonal",
    "torus": "torus?rank=2&classes=2&shape=1x3x5",
    "thick torus": "torus?rank=2&classes=2&components=1&noise=0.001&shape=1x3x4&embedding=orthogonal",
    "distractor": "distractor?shape=1x8x5&rank=2&classes=2",
    "faint distractor": "distractor?shape=2x6x4&rank=2&classes=3&mark=0.02",
    "clear distractor": "distractor?shape=1x8x5&rank=2&classes=2&mark=1&noise=0.01",
    "decoder": "decoder?size=5&classes=3&noise=0.02",
    "decoder of a curve": "decoder?latent=1&size=5&classes=4&noise=0.003",
    "decoder without noise": "decoder?latent=1&size=4&classes=2&noise=0",
}
BY_HAND = ("uneven sphere", "uneven torus", "mixture", "embedded mixture")
NAMES = (*BY_REFERENCE, *BY_HAND)
SIGMAS = (0.03, 0.1, 0.5)
HAS_DENSITY = tuple(name for name in NAMES if name.startswith(("thick", "distr", "faint", "clear")))
HAS_DENSITY += ("linear", "mixture", "embedded mixture", "decoder", "decoder of a curve")
HAS_POSTERIOR = (*HAS_DENSITY, "linear without noise", "circle", "sphere", "torus", "uneven sphere", "uneven torus")
ONE_SPAN = tuple(name for name in BY_REFERENCE if name.startswith(("linear", "offset", "rotated", "thick offset")))
ONE_SPAN += ("distractor", "faint distractor", "clear distractor", "decoder", "decoder of a curve")
EVERYWHERE = [(name, sigma) for name in NAMES for sigma in SIGMAS]
AT_ZERO = [(name, 0.0) for name in HAS_DENSITY]


@cache
def world_case(name: str) -> World:
    """The world of that name."""
    if name in BY_REFERENCE:
        return make_world(BY_REFERENCE[name])
    if name == "mixture":
        mixture = make_mixture(isotropic=False)
        return World(name, GaussianCore(mixture), Embedding(mixture.shape, offset=0.0), ("a", "b", "c"))
    shape = (1, 3, 5)
    if name == "embedded mixture":
        mixture = make_mixture((1, 1, 6), rank=2)
        placed = Embedding(shape, patterns("smooth", shape, 6, 5), scale=0.4, noise=0.002)
        return World(name, GaussianCore(mixture), placed, ("a", "b", "c"))
    return World(name, _uneven(name), _placed(name, shape), ("a", "b", "c"))


def _uneven(name: str) -> SphereCore:
    """Components of different weight and concentration, one of them uniform."""
    m, b = (1, 3) if name == "uneven sphere" else (2, 2)
    means = unit(Draw(4, torch.arange(4 * m), name).normal((b,), torch.float64)).reshape(4, m, b)
    kappa = torch.tensor([[0.0, 0.5], [3.0, 1.0], [7.0, 20.0], [30.0, 0.0]], dtype=torch.float64)[:, :m]
    log_weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).log()
    return SphereCore(means, kappa.clone(), log_weights, torch.tensor([2, 0, 1, 0]), 3)


def _placed(name: str, shape: tuple[int, int, int]) -> Embedding:
    offset = torch.linspace(0.2, 0.8, 15, dtype=torch.float64)
    return Embedding(shape, patterns("orthogonal", shape, 3 if name == "uneven sphere" else 4, 6), offset, scale=0.5)


@cache
def reference_case(name: str) -> Reference:
    """Its reference."""
    return reference_of(world_case(name))


@cache
def images_case(name: str, sigma: float, n: int = 3) -> tuple[Tensor, Tensor]:
    """n images with noise σ, and labels of which every other one is not the image's own."""
    world = world_case(name)
    found = world.sample(n, seed=11)
    noise = Draw(12, torch.arange(n), name).normal(world.shape, torch.float64)
    y = (found.y + torch.arange(n) % 2) % world.classes
    return found.x + sigma * noise, y
