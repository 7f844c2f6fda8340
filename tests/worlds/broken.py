"""Worlds with one deliberate mistake each, to show that a check would see it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from tangency.numerics import norms
from tangency.types import Direction
from tangency.worlds import Sample, World


class Fake:
    """Something with some of its answers replaced."""

    def __init__(self, true: Any, **replaced: Any) -> None:
        self._true, self._replaced = true, replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced[name] if name in self._replaced else getattr(self._true, name)


def with_core(world: World, **replaced: Any) -> World:
    return dataclasses.replace(world, core=Fake(world.core, **replaced))


def wrong_sign(world: World) -> World:
    def flipped(z, sigma, weigh):
        found, joint = world.core.weighted_score(z, sigma, weigh)
        return -found, joint

    return with_core(world, weighted_score=flipped)


def forgotten_noise(world: World) -> World:
    """Smoothing in the core by ψ only, not ψ + σ²."""
    clean = math.sqrt(world.embedding.noise) / world.embedding.scale
    return with_core(
        world,
        weighted_score=lambda z, sigma, weigh: world.core.weighted_score(z, clean, weigh),
        log_class_joint=lambda z, sigma: world.core.log_class_joint(z, clean),
        mean_square=lambda z, sigma: world.core.mean_square(z, clean),
    )


def swapped_classes(world: World) -> World:
    return with_core(world, log_class_joint=lambda z, sigma: world.core.log_class_joint(z, sigma).flip(1))


def next_label(world: World) -> Fake:
    """The Bayes direction of the wrong class."""
    return Fake(world, bayes_direction=lambda x, y, sigma: world.bayes_direction(x, (y + 1) % world.classes, sigma))


def whole_odds(world: World) -> Fake:
    """The log norm of the log-odds' gradient, without 1 − p_y."""

    def larger(x, y, sigma):
        direction = world.bayes_direction(x, y, sigma).direction
        return Direction(direction, norms(direction).log())

    return Fake(world, bayes_direction=larger)


def pixel_units(world: World) -> Fake:
    """A score in units of 1/256 of the pixel range."""
    return Fake(world, score=lambda x, sigma, y=None: world.score(x, sigma, y) / 256)


def weights_of_one(world: World) -> Fake:
    """Weights taken to sum to one."""

    def scaled(x, sigma, weigh):
        return world.weighted_score(x, sigma, lambda *a: weigh(*a) / weigh(*a).sum(1, keepdim=True))

    return Fake(world, weighted_score=scaled)


def half_noise(world: World) -> Fake:
    """Tweedie with σ²/2."""

    def denoise(x, sigma, y=None):
        return x + sigma**2 / 2 * world.score(x, sigma, y)

    return Fake(world, denoise=denoise)


def one_class(world: World) -> Fake:
    """The score of class 0 as that of all."""
    return Fake(world, score=lambda x, sigma, y=None: world.score(x, sigma, torch.zeros(len(x), dtype=torch.int64)))


def half_derivative(world: World) -> Fake:
    """A denoiser of the right values with half their derivatives."""

    def denoise(x, sigma, y=None):
        found = world.denoise(x, sigma, y)
        return (found + found.detach()) / 2

    return Fake(world, denoise=denoise)


def slightly_off(world: World) -> Fake:
    """A denoiser with an error of a billionth."""
    return Fake(world, denoise=lambda x, sigma, y=None: world.denoise(x, sigma, y) * (1 + 1e-9))


def twisted(world: World) -> Fake:
    """A denoiser that is the gradient of nothing."""
    return Fake(world, denoise=lambda x, sigma, y=None: world.denoise(x, sigma, y) + 1e-6 * x.roll(1, 3))


def mode_distance(world: World) -> World:
    """‖z − E z₀‖² instead of E‖z − z₀‖²."""

    def collapsed(z, sigma):
        score, _ = world.core.weighted_score(z, sigma, lambda joint, _: joint.softmax(1))
        return (sigma**2 * score).square().sum(1)

    return with_core(world, mean_square=collapsed)


def no_normal_part(world: World) -> World:
    def inside(rows):
        z, left = world.embedding.encode(rows)
        return z, torch.zeros_like(left)

    return dataclasses.replace(world, embedding=Fake(world.embedding, encode=inside))


def more_than_one(world: World) -> Fake:
    """Posteriors that sum to two."""
    return Fake(world, log_posterior=lambda x, sigma: world.log_posterior(x, sigma) + math.log(2))


def tilted_span(world: World) -> Fake:
    basis = world.bayes_span()
    tilted = torch.linalg.qr(basis + 1e-6 * torch.ones_like(basis)).Q
    return Fake(world, bayes_span=lambda: tilted)


def random_tangents(world: World) -> World:
    def tangents(z, dtype=torch.float64):
        basis, rank = world.core.tangents(z)
        return torch.eye(z.shape[1], dtype=z.dtype).expand(len(z), -1, -1)[:, :, : basis.shape[2]], rank

    return with_core(world, tangents=tangents)


def short_tangents(world: World) -> Fake:
    return Fake(world, tangent_basis=lambda x: (0.9 * world.tangent_basis(x)[0], world.tangent_basis(x)[1]))


def resampled(world: World, x: Any = None, y: Any = None) -> Fake:
    """Other images or labels than the law's."""

    def sample(n, seed, start=0):
        found = world.sample(n, seed, start)
        return Sample(x(found.x) if x else found.x, y(found.y) if y else found.y, found.component)

    return Fake(world, sample=sample)
