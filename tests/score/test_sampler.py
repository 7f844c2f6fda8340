"""Samplers against the exact solution of the probability-flow ODE, and images that do not depend on their batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tangency.errors import SpecError
from tangency.models import Classifier
from tangency.score import ClassifierFreeGuided, ClassifierGuided, FunctionScore, Sampler
from tangency.seeding import Draw
from tangency.worlds import make_world

VARIANCE = torch.logspace(-3, -0.5, 16, dtype=torch.float64).reshape(1, 1, 4, 4)
MEAN = torch.linspace(0.2, 0.8, 16, dtype=torch.float64).reshape(1, 1, 4, 4)


def _gaussian(u: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
    return MEAN + VARIANCE / (VARIANCE + levels.double()[:, None, None, None] ** 2) * (u - MEAN)


GAUSSIAN = FunctionScore(_gaussian, (1, 4, 4), data_range=(0.0, 1.0), kind="Gaussian")


def _error(steps: int, solver: Any) -> float:
    """Largest error of a solution from σ_max to σ_min, which a Gaussian world has in closed form."""
    sampler = Sampler(steps, sigma_min=1e-4, sigma_max=10.0, solver=solver)
    draw = Draw(0, torch.arange(8), "start")
    start = 0.5 + 10.0 * draw.normal((1, 4, 4), torch.float64)
    wanted = MEAN + (VARIANCE / (VARIANCE + 100.0)).sqrt() * (start - MEAN)
    return float((sampler.run(GAUSSIAN, start, draw) - wanted).abs().max())


@pytest.mark.parametrize(("solver", "order"), [("heun", 2.0), ("euler", 1.0)])
def test_order_of_convergence(solver: str, order: float) -> None:
    counts = [16, 32, 64, 128, 256]
    errors = [_error(steps, solver) for steps in counts]
    slope = float(np.polyfit(np.log(counts), np.log(errors), 1)[0])
    assert slope == pytest.approx(-order, abs=0.2)


def test_the_law_of_the_samples_is_that_of_the_world() -> None:
    ids = torch.arange(4000)
    for churn in (0.0, 10.0):
        x = Sampler(40, sigma_min=1e-3, sigma_max=20.0, churn=churn).sample(GAUSSIAN, ids, batch=4000).double()
        standard = (x - MEAN) / VARIANCE.sqrt()
        assert float(standard.mean(0).abs().max()) < 5 / math.sqrt(4000)
        assert float((standard.var(0) - 1).abs().max()) < 5 * math.sqrt(2 / 4000) + 0.02  # and what 40 steps leave


@pytest.mark.parametrize("churn", [0.0, 20.0])
def test_an_image_is_the_same_in_any_batch(churn: float) -> None:
    world = make_world("linear?rank=3&classes=3&shape=1x8x8")
    sampler, ids, y = Sampler(8, churn=churn), torch.arange(20), torch.arange(20) % 3
    together = sampler.sample(world, ids, y, batch=20)
    alone = sampler.sample(world, ids[17:18], y[17:18])
    torch.testing.assert_close(together[17:18], alone, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(together.flip(0), sampler.sample(world, ids.flip(0), y.flip(0), batch=3))
    assert not torch.allclose(together, sampler.sample(world, ids, y, seed=1))


def test_steps_are_those_of_the_paper() -> None:
    levels = Sampler(18, sigma_min=0.002, sigma_max=80.0).levels
    assert len(levels) == 19
    assert (levels[0], levels[-2], levels[-1]) == pytest.approx((80.0, 0.002, 0.0))
    middle = (80 ** (1 / 7) + 5 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert levels[5] == pytest.approx(middle)


def test_heun_asks_twice_but_for_the_last_step() -> None:
    asked: list[float] = []

    def counted(u: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        asked.append(float(levels[0]))
        return _gaussian(u, levels, y)

    Sampler(18).sample(FunctionScore(counted, (1, 4, 4), data_range=(0.0, 1.0)), torch.arange(2))
    assert len(asked) == 35


def test_conditional_samples_belong_to_their_class() -> None:
    world = make_world("linear?rank=4&classes=2&separation=6&shape=1x8x8")
    y = torch.arange(40) % 2
    x = Sampler(18).sample(world, torch.arange(40), y)
    assert float((world.log_posterior(x, 0.05).argmax(1) == y).double().mean()) > 0.95


def test_classifier_free_guidance_is_a_line_through_two_answers() -> None:
    world = make_world("linear?rank=3&classes=2&shape=1x8x8")
    drawn, sigma = world.sample(4, 0), 0.2
    free, given = world.denoise(drawn.x, sigma), world.denoise(drawn.x, sigma, drawn.y)
    for weight, wanted in ((0.0, free), (1.0, given), (3.0, free + 3 * (given - free))):
        torch.testing.assert_close(ClassifierFreeGuided(world, weight).denoise(drawn.x, sigma, drawn.y), wanted)
    torch.testing.assert_close(ClassifierFreeGuided(world, 3.0).denoise(drawn.x, sigma), free)


class _Rule(nn.Module):
    """The Bayes rule of a world at one σ as a network of float32 images."""

    def __init__(self, world: Any, sigma: float) -> None:
        super().__init__()
        self.world, self.sigma = world, sigma

    def forward(self, x: Tensor) -> Tensor:
        from tangency.worlds import BayesClassifier

        found: Tensor = BayesClassifier(self.world, self.sigma)(x)
        return found


def test_guidance_by_the_bayes_rule_is_the_conditional_score() -> None:
    """D + σ²∇ log p_σ(y|x) = D(x; σ, y): Bayes' theorem."""
    world, sigma = make_world("linear?rank=3&classes=3&shape=1x8x8"), 0.2
    drawn = world.sample(5, 0)
    x = drawn.x + sigma * torch.randn(drawn.x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    guided = ClassifierGuided(world, _Rule(world, sigma), 1.0)
    torch.testing.assert_close(
        guided.denoise(x, sigma, drawn.y), world.denoise(x, sigma, drawn.y), rtol=1e-4, atol=1e-6
    )


def test_a_classifier_without_gradient_guides_nowhere() -> None:
    world = make_world("linear?rank=3&classes=2&shape=1x8x8")
    drawn = world.sample(3, 0)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    nn.init.zeros_(flat[1].weight)
    for at in ("noisy", "denoised"):
        guided = ClassifierGuided(world, Classifier.wrap(flat, (1, 8, 8), 2), 5.0, at=at)
        torch.testing.assert_close(guided.denoise(drawn.x, 0.2, drawn.y), world.denoise(drawn.x, 0.2))


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"sigma_min": 0.0},
        {"sigma_min": 2.0, "sigma_max": 1.0},
        {"sigma_max": math.inf},
        {"rho": 0.0},
        {"churn": -1.0},
        {"solver": "midpoint"},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="sampler: got"):
        Sampler(**settings)


def test_bad_guidance_is_refused() -> None:
    with pytest.raises(SpecError, match="takes no labels"):
        ClassifierFreeGuided(GAUSSIAN, 2.0)
    with pytest.raises(SpecError, match="noisy or denoised"):
        ClassifierGuided(GAUSSIAN, nn.Identity(), 1.0, at="clean")


def test_no_images_are_no_images() -> None:
    assert Sampler(2).sample(GAUSSIAN, torch.arange(0)).shape == (0, 1, 4, 4)
