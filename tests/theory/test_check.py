"""Every claim holds, and none holds in a world with a mistake in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from tangency.theory import Claim, check
from tangency.theory.check import SMALL, TOPICS
from tangency.theory.identities import identities
from tangency.types import Direction
from tangency.worlds import World, make_world


def failures(claims: list[Claim]) -> list[str]:
    return [
        f"{c.claim} ({c.world}): {c.measured} {c.relation} {c.expected} ± {c.tolerance}" for c in claims if not c.passed
    ]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_theorem_holds(topic: str) -> None:
    claims = TOPICS[topic](0)
    assert failures(claims) == []
    assert {c.topic for c in claims} == {topic}


@pytest.mark.parametrize("name", ["linear", "offset", "rotated", "distractor"])
def test_every_identity_holds(name: str) -> None:
    claims = check(SMALL[name])
    assert failures(claims) == []
    assert len({c.claim for c in claims}) == 15


@pytest.mark.parametrize("name", ["sphere?shape=1x4x4&rank=3", "torus?shape=1x4x4&rank=2"])
def test_every_identity_holds_on_curved_worlds(name: str) -> None:
    assert failures(identities(make_world(name), 0.1)) == []


@pytest.mark.slow
def test_the_whole_check_holds_for_other_seeds() -> None:
    for seed in (1, 2):
        assert failures(check(seed=seed)) == []


class WrongSign(World):
    """A score that points down the density."""

    def score(self, x, sigma, y=None):
        return -super().score(x, sigma, y)


class MissingSigma(World):
    """A denoiser that forgot σ²."""

    def denoise(self, x, sigma, y=None):
        return x + self.score(x, sigma, y)


class SwappedClass(World):
    """The Bayes gradient of the next class."""

    def bayes_direction(self, x, y, sigma):
        return super().bayes_direction(x, (y + 1) % self.classes, sigma)


class SwappedScore(World):
    """The score of the next class."""

    def score(self, x, sigma, y=None):
        return super().score(x, sigma, y if y is None else (y + 1) % self.classes)


class WrongNoise(World):
    """Densities of more noise than was asked for."""

    def log_class_joint(self, x, sigma):
        return super().log_class_joint(x, 1.1 * sigma)


class WrongDimension(World):
    """A local dimension without its factor."""

    def local_dimension(self, x, sigma):
        return 2 * super().local_dimension(x, sigma)


class WrongPosterior(World):
    """A posterior that is too sure."""

    def log_posterior(self, x, sigma):
        return (2 * super().log_posterior(x, sigma)).log_softmax(1)


class WrongNorm(World):
    """A gradient ten times as long."""

    def bayes_direction(self, x, y, sigma):
        found = super().bayes_direction(x, y, sigma)
        return Direction(found.direction, found.log_norm + torch.log(torch.tensor(10.0)))


class Smeared(World):
    """A score with a small part that is no gradient: a Jacobian that is not symmetric."""

    def score(self, x, sigma, y=None):
        return super().score(x, sigma, y) + 0.01 * x.roll(1, -1)


FAKES: dict[type[World], str] = {
    WrongSign: "E[s_σ xᵀ] = −I, on the diagonal",
    MissingSigma: "Tweedie: D(x; σ) = x + σ²∇ log p_σ(x)",
    SwappedClass: "∇ log p(y|x) = (D(x; σ, y) − D(x; σ))/σ²",
    SwappedScore: "s_σ(x) = Σ_y p(y|x) s_σ(x|y)",
    WrongNoise: "s_σ = ∇ log p_σ, by automatic differentiation",
    WrongDimension: "d + σ²(Δ log p + ‖s‖²) = tr J_D + ‖x − D‖²/σ² = E‖x − x₀‖²/σ²",
    WrongPosterior: "∇ log p(y|x), by automatic differentiation",
    WrongNorm: "∇ log p(y|x), by automatic differentiation",
    Smeared: "J_D is symmetric",
}


@pytest.mark.parametrize("reference", [SMALL["linear"], SMALL["rotated"]])
@pytest.mark.parametrize("fake", FAKES, ids=lambda f: f.__name__)
def test_a_mistake_is_seen(fake: Callable[..., World], reference: str) -> None:
    true = make_world(reference)
    wrong = fake(**{field.name: getattr(true, field.name) for field in dataclasses.fields(true)})
    failed = {claim.claim for claim in identities(wrong, 0.1) if not claim.passed}
    assert FAKES[fake] in failed
