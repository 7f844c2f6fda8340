"""What an exact score must show, what a wrong one must not, and the known answers of worlds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.score import FunctionScore, bayes_gradient, denoising_error, diagnose, noise_averaged_score
from tangency.score.diagnostics import Draws
from tangency.score.gradients import _distance_to_hull, _onto_simplex
from tangency.seeding import Draw
from tangency.types import LabelledImages
from tangency.worlds import World, load_dataset, make_world

REFERENCE = "linear?rank=4&classes=3&shape=1x8x8&noise=0.001"
SIGMA = 0.1


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(REFERENCE)


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    return load_dataset(f"world:{REFERENCE}&train=2&test=600").test


def as_function(world: World, change: Any = lambda answer, u: answer) -> FunctionScore:
    """The exact denoiser, or a spoilt one, as a function that can be differentiated backwards."""

    def denoiser(u: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        return change(world.denoise(u, float(levels[0]), y), u)

    return FunctionScore(denoiser, world.shape, world.classes, data_range=(0.0, 1.0))


def within(values: Tensor, wanted: float, sds: float = 4.0) -> bool:
    return bool((values.mean() - wanted).abs() < sds * values.std() / len(values) ** 0.5)


def test_an_exact_score_keeps_every_identity(world: World, images: LabelledImages) -> None:
    found = diagnose(world, images, SIGMA, draws=Draws(probes=2))
    assert within(found.stein, 1.0)
    assert within(found.sure - found.error, 0.0)
    assert bool((found.score.mean(0).abs() < 4 * found.score.std(0) / len(images) ** 0.5).all())
    product = found.score[:, :, None] * found.image[:, None, :]
    off = product.mean(0) + torch.eye(found.score.shape[1], dtype=torch.float64)
    assert bool((off.abs() < 4.5 * product.std(0) / len(images) ** 0.5).all())
    torch.testing.assert_close(found.error.float(), denoising_error(world, images, SIGMA).float(), rtol=1e-4, atol=1e-7)


def test_the_dimension_is_the_worlds(world: World, images: LabelledImages) -> None:
    some = images.subset(slice(0, 100))
    found = diagnose(world, some, SIGMA, draws=Draws(probes=32)).dimension
    exact = world.local_dimension(some.images().double(), SIGMA)
    assert float((found - exact).abs().max()) < 0.25 * float(exact.mean())  # Hutchinson's noise
    assert float(found.mean()) == pytest.approx(float(exact.mean()), rel=0.02)


@pytest.mark.parametrize("mistake", ["sign", "factor", "shift"])
def test_a_wrong_score_breaks_an_identity(world: World, images: LabelledImages, mistake: str) -> None:
    change = {
        "sign": lambda answer, u: 2 * u - answer,
        "factor": lambda answer, u: u + 2 * (answer - u),
        "shift": lambda answer, u: answer + 0.02,
    }[mistake]
    found = diagnose(as_function(world, change), images, SIGMA, draws=Draws(probes=1))
    if mistake == "shift":
        assert bool((found.score.mean(0).abs() > 10 * found.score.std(0) / len(images) ** 0.5).any())
    else:
        assert not within(found.stein, 1.0, 20)
    assert float(found.error.mean()) > float(denoising_error(world, images, SIGMA).mean())


def test_sure_is_the_error_of_any_denoiser_not_only_of_a_good_one(world: World, images: LabelledImages) -> None:
    poor = as_function(world, lambda answer, u: 0.6 * u + 0.3 * answer.roll(1, 3))
    found = diagnose(poor, images, SIGMA, draws=Draws(probes=4))
    assert within(found.sure - found.error, 0.0)


def test_what_is_no_gradient_is_not_symmetric(world: World, images: LabelledImages) -> None:
    some = images.subset(slice(0, 100))
    true = diagnose(as_function(world), some, SIGMA)
    assert float(true.asymmetry.sum() / true.curvature.sum()) < 1e-12
    turned = diagnose(as_function(world, lambda answer, u: answer.transpose(2, 3)), some, SIGMA)
    assert float(turned.asymmetry.sum() / turned.curvature.sum()) > 0.1
    assert bool(diagnose(world, some, SIGMA).asymmetry.isnan().all())


def test_the_batch_changes_nothing(world: World, images: LabelledImages) -> None:
    some = images.subset(slice(0, 9))
    one, nine = (diagnose(as_function(world), some, SIGMA, batch=size) for size in (1, 9))
    for name in ("error", "sure", "stein", "score", "image", "asymmetry", "curvature", "dimension"):
        torch.testing.assert_close(getattr(one, name), getattr(nine, name), rtol=1e-7, atol=1e-9)


def test_no_noise_is_refused(world: World, images: LabelledImages) -> None:
    with pytest.raises(NumericsError, match="positive noise level"):
        diagnose(world, images, 0.0)


def test_exact_answers_are_consistent_and_wrong_ones_are_not(world: World) -> None:
    drawn = world.sample(40, 1)
    x = drawn.x + 0.2 * Draw(0, torch.arange(40), "n").normal(world.shape, torch.float64)
    exact = bayes_gradient(world, x, drawn.y, 0.2)
    assert float((1 / exact.signal_to_noise).max()) < 1e-5
    noise = 0.05 * Draw(0, torch.arange(40), "error").normal(world.shape, torch.float64)
    wrong = as_function(world)
    told = wrong.denoiser
    wrong.denoiser = lambda u, levels, y: told(u, levels, y) + (noise if y is None else 0)
    found = bayes_gradient(wrong, x, drawn.y, 0.2)
    size = noise.flatten(1).norm(dim=1)
    assert bool((found.inconsistency <= size * (1 + 1e-9)).all())
    assert bool((found.inconsistency > 0.5 * size).all())
    torch.testing.assert_close(exact.direction.log_norm, world.bayes_direction(x, drawn.y, 0.2).log_norm)


def test_the_distance_to_a_triangle_is_that_of_a_fine_grid() -> None:
    points = torch.randn(6, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.3
    steps = torch.linspace(0, 1, 201, dtype=torch.float64)
    p = torch.stack([steps[:, None].expand(201, 201), steps[None].expand(201, 201)], 2).reshape(-1, 2)
    p = p[p.sum(1) <= 1]
    p = torch.cat([p, 1 - p.sum(1, keepdim=True)], 1)
    grid = torch.einsum("gc,ncd->ngd", p, points).norm(dim=2).amin(1)
    torch.testing.assert_close(_distance_to_hull(points), grid, rtol=1e-3, atol=1e-3)


def test_the_projection_on_probabilities() -> None:
    rows = torch.tensor([[0.2, 0.3, 0.5], [2.0, 0.0, 0.0], [-1.0, -1.0, -1.0], [0.9, 0.6, -5.0]])
    wanted = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.65, 0.35, 0.0]])
    torch.testing.assert_close(_onto_simplex(rows), wanted)


def test_the_noise_average_of_a_linear_score_is_the_score_itself() -> None:
    score = FunctionScore(lambda u, levels, y: 0.5 * u, (1, 4, 4), data_range=(0.0, 1.0))
    x, draw = torch.rand(3, 1, 4, 4, dtype=torch.float64), Draw(0, torch.arange(3), "n")
    found = noise_averaged_score(score, x, 0.3, draw, samples=4)
    torch.testing.assert_close(found.score, score.score(x, 0.3))
    assert float(found.standard_error.max()) < 1e-6


@pytest.mark.slow
def test_the_noise_average_is_the_gradient_of_the_average_density(world: World) -> None:
    x, sigma = world.sample(3, 0).x, 0.3
    draw = Draw(0, torch.arange(3), "n")
    found = noise_averaged_score(world, x, sigma, draw, samples=4000)
    other = noise_averaged_score(world, x, sigma, draw.of("other"), samples=4000)
    gap = (found.score - other.score).flatten(1).norm(dim=1)
    assert bool((gap < 4 * (found.standard_error**2 + other.standard_error**2).sqrt()).all())
    assert bool((gap > 0.3 * found.standard_error).all())
    noise = sigma * draw.of("third").normal((4000, *world.shape), torch.float64)
    noise = torch.cat([noise, -noise], 1)
    mean = torch.stack([world.score(one + n, sigma).mean(0) for one, n in zip(x, noise, strict=True)])
    assert bool(((mean - found.score).flatten(1).norm(dim=1) < 4 * found.standard_error).all())


@pytest.mark.parametrize("samples", [0, 2, 5])
def test_pairs_of_noise_are_asked_for(world: World, samples: int) -> None:
    with pytest.raises(NumericsError, match="even number"):
        noise_averaged_score(world, world.sample(1, 0).x, 0.3, Draw(0, torch.arange(1), "n"), samples=samples)
