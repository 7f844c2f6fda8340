"""Chance levels of F², κ and the cosine, those of a random gradient, and how they are related."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from tangency.measures import MeasureConfig, measure
from tangency.numerics import cosine
from tangency.seeding import Draw
from tangency.statistics import PairedBootstrap
from tangency.tangents import TangentSpace, WorldTangents
from tangency.theory.claims import Claim, mean_claim, ratio_claim
from tangency.theory.theorem1 import quadratic
from tangency.worlds import World, drawn, make_world

TOPIC = "chance"
WORLD = "linear?shape=1x8x8&rank=6"
_DRAWS = 20_000


def chance(seed: int = 0) -> list[Claim]:
    """All claims about chance levels."""
    world = make_world(WORLD)
    return [*_random_direction(world, seed), *_cosine(world, seed), *_measured(world, seed)]


def _random_direction(world: World, seed: int) -> list[Claim]:
    from scipy.special import digamma
    from scipy.stats import beta, kstest

    d, k = world.dimension, world.intrinsic_dimension
    basis = world.tangent_basis(world.sample(1, seed).x)[0]
    noise = Draw(seed, torch.arange(_DRAWS), "random gradients").normal(world.shape, torch.float64)
    space = TangentSpace(basis.expand(_DRAWS, -1, -1), torch.full((_DRAWS,), k))
    fraction = space.fraction(noise)
    ratio = (1 - fraction) / fraction * k / (d - k)
    null = float(digamma((d - k) / 2) - digamma(k / 2) + math.log(k / (d - k)))
    p = float(kstest(fraction.numpy(), beta(k / 2, (d - k) / 2).cdf).pvalue)
    ranks = torch.full((_DRAWS,), float(k), dtype=torch.float64)
    pooled = PairedBootstrap(_DRAWS, 100).pooled_kappa(fraction.numpy(), ranks.numpy(), d)
    spread = float(pooled[1:].std())
    return [
        mean_claim(TOPIC, "a random direction has mean F² = k/d", world.name, k / d, fraction),
        Claim(TOPIC, "its F² is Beta(k/2, (d−k)/2): Kolmogorov–Smirnov p-value", world.name, 1e-3, p, 0.0, "≥"),
        Claim(TOPIC, "pooled κ of random directions is 1", world.name, 1.0, float(pooled[0]), 4.5 * spread),
        mean_claim(TOPIC, "per-image ln κ has mean ψ((d−k)/2) − ψ(k/2) + ln(k/(d−k))", world.name, null, ratio.log()),
        mean_claim(TOPIC, "the mean of per-image κ is biased upwards, to k/(k − 2)", world.name, k / (k - 2), ratio),
    ]


def _cosine(world: World, seed: int) -> list[Claim]:
    d = world.dimension
    a, b = (
        Draw(seed, torch.arange(_DRAWS), f"cosine {side}").normal(world.shape, torch.float64) for side in ("a", "b")
    )
    cosines = cosine(a, b)
    return [
        mean_claim(TOPIC, "the cosine of two random directions has mean 0", world.name, 0.0, cosines),
        mean_claim(TOPIC, "its square has mean 1/d", world.name, 1 / d, cosines.square()),
    ]


def _measured(world: World, seed: int) -> list[Claim]:
    """Steps of equal length on and off the manifold against the gradient's own split, for a linear function."""
    d, k, name = world.dimension, world.intrinsic_dimension, world.name
    data = drawn(world, 400, seed)
    data = dataclasses.replace(data, labels=data.labels % 2, classes=("even", "odd"))  # of two logits
    x, tangents = data.pixels.double(), WorldTangents(world)
    f = quadratic(d, 2, seed, bend=0.0)
    config = MeasureConfig(
        tangent_scalars=("margin",),
        alignments=(("margin", "score"),),
        sigmas=(0.1,),
        rho_sigmas=(0.01,),
        epsilons=(1.0,),
        metrics=("cosine",),
    )
    rows = measure(f, x, data.labels, train_data=data, score=world, tangents=tangents, config=config)
    fraction = rows["tangent_fraction.margin"]
    rho = float((1 - fraction).sum() / len(fraction))
    kappa = rho / (1 - rho) * k / (d - k)
    space = tangents.at(x)
    on, off = _energies(space, (f.linear[0] - f.linear[1]).reshape(1, *world.shape), seed)
    pooled = PairedBootstrap(len(x), 1).pooled_kappa(fraction.numpy(), rows["tangent_rank"].numpy(), d)[0]
    outside = float(1 - (f.linear @ space.basis[0]).square().sum() / f.linear.square().sum())
    above, below = (rows[f"rho_{part}.logits.sigma=0.01"] for part in ("off", "all"))
    return [
        Claim(TOPIC, "κ = ρ₁/(1 − ρ₁) · k/(d − k)", name, kappa, float(pooled), 1e-9),
        ratio_claim(TOPIC, "energy of unit steps off over on the manifold is κ", name, kappa, off, on),
        ratio_claim(TOPIC, "ρ₂ of linear logits is ‖J(I − P)‖_F²/‖J‖_F² at any σ", name, outside, above, below),
    ]


def _energies(space: TangentSpace, gradient: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Squared changes of a linear function along 64 random unit steps on and off the manifold, summed, (N,) each."""
    ids, (_, *shape) = torch.arange(len(space.basis)), gradient.shape
    on, off = torch.zeros(len(ids), dtype=torch.float64), torch.zeros(len(ids), dtype=torch.float64)
    for r in range(64):
        noise = Draw(seed, ids, f"step {r}").normal(shape, torch.float64)
        outside = space.reject(noise)
        outside = outside / outside.flatten(1).norm(dim=1)[:, None, None, None]
        on += (space.on_direction(noise) * gradient).flatten(1).sum(1).square()
        off += (outside * gradient).flatten(1).sum(1).square()
    return on, off
