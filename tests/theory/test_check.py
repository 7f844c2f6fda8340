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


@pytest.mark.parametrize(
    "topic", [pytest.param(t, marks=[pytest.mark.slow] if t == "verdicts" else []) for t in TOPICS]
)
def test_every_theorem_holds(topic: str) -> None:
    claims = TOPICS[topic](0)
    assert failures(claims) == []
    assert {c.topic for c in claims} == {topic}


@pytest.mark.parametrize(
    "name", ["linear", "offset", "rotated", "distractor", pytest.param("decoder", marks=pytest.mark.slow)]
)
def test_every_identity_holds(name: str) -> None:
    claims = check(SMALL[name])
    assert failures(claims) == []
    assert len({c.claim for c in claims}) == 15


@pytest.mark.parametrize(
    "name", [pytest.param("sphere?shape=1x4x4&rank=3", marks=pytest.mark.slow), "torus?shape=1x4x4&rank=2"]
)
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
    """A score with a part that is no gradient: a Jacobian that is not symmetric."""

    def score(self, x, sigma, y=None):
        return super().score(x, sigma, y) + 0.5 * x.roll(1, -1)


class Shifted(World):
    """A score with a constant added."""

    def score(self, x, sigma, y=None):
        return super().score(x, sigma, y) + 20


class Rotating(World):
    """A score that also turns x about: E[s xᵀ] has an antisymmetric part."""

    def score(self, x, sigma, y=None):
        rows = x.flatten(1) - 0.5
        turn = torch.randn(rows.shape[1], rows.shape[1], generator=torch.Generator().manual_seed(0), dtype=rows.dtype)
        return super().score(x, sigma, y) + (300 * rows @ (turn - turn.mT)).reshape(x.shape)


class Expanding(World):
    """A denoiser that pushes images apart: a Jacobian with negative eigenvalues."""

    def denoise(self, x, sigma, y=None):
        return super().denoise(x, sigma, y) - 0.5 * (x - 0.5)


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
    Shifted: "E s_σ = 0, along a random direction",
    Rotating: "E[s_σ xᵀ] = −I, off the diagonal",
    Expanding: "J_D is positive semi-definite: least eigenvalue",
}


def faked(fake: Callable[..., World], true: World) -> World:
    return fake(**{field.name: getattr(true, field.name) for field in dataclasses.fields(true) if field.init})


@pytest.mark.parametrize("reference", [SMALL["linear"], SMALL["rotated"]])
@pytest.mark.parametrize("fake", FAKES, ids=lambda f: f.__name__)
def test_a_mistake_is_seen(fake: Callable[..., World], reference: str) -> None:
    failed = {claim.claim for claim in identities(faked(fake, make_world(reference)), 0.1) if not claim.passed}
    assert FAKES[fake] in failed


def test_every_identity_fails_for_some_mistake() -> None:
    true = make_world(SMALL["linear"])
    names = {claim.claim for claim in identities(true, 0.1)}
    failed = {c.claim for fake in FAKES for c in identities(faked(fake, true), 0.1) if not c.passed}
    assert names - failed == set()


def spoiled(monkeypatch: pytest.MonkeyPatch, module: str, fake: type[World]) -> None:
    """Let the claims of a module be checked in worlds with a mistake."""
    monkeypatch.setattr(f"tangency.theory.{module}.make_world", lambda reference: faked(fake, make_world(reference)))


class Untouched(World):
    """A Bayes gradient with a part that is normal to everything."""

    def bayes_direction(self, x, y, sigma):
        found = super().bayes_direction(x, y, sigma)
        return Direction(found.direction + 0.05 * found.direction.abs().amax() * x.roll(3, -1), found.log_norm)


class Flattened(World):
    """Tangent spaces that are too small by one direction."""

    def tangent_basis(self, x):
        basis, rank = super().tangent_basis(x)
        return basis[:, :, 1:], rank - 1


def failed_of(topic: str) -> set[str]:
    return {claim.claim for claim in TOPICS[topic](0) if not claim.passed}


def test_theorem_2_fails_with_a_wrong_bayes_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled(monkeypatch, "theorem2", Untouched)
    failed = failed_of("theorem 2")
    assert "one subspace for all classes: 1 − F² of the Bayes gradient" in failed
    assert "parallel subspaces: the gradient is Σ_c w_c offset_c/(ψ + σ²)" in failed
    assert "signal and distractor: no gradient on a distractor whose place is certain" in failed
    assert any("span{A_j" in claim for claim in failed)
    assert any("p(b|x)(1 − p(b|x))" in claim for claim in failed)


def test_theorem_2_fails_with_wrong_tangent_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled(monkeypatch, "theorem2", Flattened)
    failed = failed_of("theorem 2")
    assert "turned subspaces: normal share 1 − F² of the Bayes gradient is cos⁴(angle)" in failed
    assert "`measure` reports the Bayes rule as on the manifold: pooled κ" in failed


def test_curvature_fails_with_a_wrong_score_or_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled(monkeypatch, "curvature", WrongSign)
    assert "the score on a uniform sphere is −k/2 along the radius" in failed_of("curvature")
    spoiled(monkeypatch, "curvature", WrongDimension)
    assert "local dimension E‖x − x₀‖²/σ² at images of the world" in failed_of("curvature")
    spoiled(monkeypatch, "curvature", Untouched)
    assert "normal part of the Bayes gradient on a sphere against its law, relative" in failed_of("curvature")
    spoiled(monkeypatch, "curvature", MissingSigma)
    assert {"denoiser Jacobian along the sphere", "denoiser Jacobian across the sphere"} <= failed_of("curvature")


@pytest.mark.slow
def test_theorem_1_and_chance_fail_with_wrong_closed_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    from tangency.tangents import TangentSpace
    from tangency.theory import theorem1

    def careless(g, h, off, sigma):  # the trace, but not the Frobenius norm, of the curvature
        def energy(g, h):
            return sigma**2 * g.square().sum() + 0.25 * sigma**4 * h.diagonal(dim1=-2, dim2=-1).sum(-1).square().sum()

        return float(energy(g @ off, off @ h @ off) / energy(g, h))

    with monkeypatch.context() as patch:
        patch.setattr(theorem1, "rho_of_quadratic", careless)
        assert any("closed form against its definition" in claim for claim in failed_of("theorem 1"))
    with monkeypatch.context() as patch:  # F, not F², as in part of the literature
        true = TangentSpace.fraction
        patch.setattr(TangentSpace, "fraction", lambda self, x: true(self, x).sqrt())
        failed = failed_of("chance")
    assert "a random direction has mean F² = k/d" in failed
    assert "pooled κ of random directions is 1" in failed
    assert "energy of unit steps off over on the manifold is κ" in failed
