"""Identities that hold on average over images of a world with noise σ: z-tests that raise AssertionError."""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor

from tangency.seeding import Draw
from tangency.worlds import World
from worlds.world_checks import Z, jacobian


def noisy(world: World, sigma: float, n: int, seed: int = 21) -> tuple[Tensor, Tensor]:
    """n images, and the same with noise σ."""
    clean = world.sample(n, seed).x
    return clean, clean + sigma * Draw(seed, torch.arange(n), "averages").normal(world.shape, torch.float64)


def z_scores(values: Tensor) -> Tensor:
    """How many standard errors each column's mean is from zero."""
    return values.mean(0) / (values.std(0) / len(values) ** 0.5)


def none_far(what: str, values: Tensor) -> None:
    """Raise unless no column of (N, …) values has a mean that differs from zero."""
    worst = float(z_scores(values.flatten(1)).abs().max())
    assert worst < Z, f"{what}: {worst:.1f} standard errors from zero"


def check_score_averages_to_zero(world: World, sigma: float, n: int = 3000) -> None:
    """E s(x) = 0 in every direction: Hotelling's statistic, about χ² with d degrees of freedom."""
    score = world.score(noisy(world, sigma, n)[1], sigma).flatten(1)
    mean, covariance = score.mean(0), torch.cov(score.T) / n
    chance = stats.chi2.sf(float(mean @ torch.linalg.solve(covariance, mean)), world.dimension)
    assert chance > 1e-6, f"mean score: p = {chance:.1e}"


def check_stein(world: World, sigma: float, n: int = 3000) -> None:
    """E[s xᵀ] = −I."""
    x = noisy(world, sigma, n)[1]
    score = world.score(x, sigma).flatten(1)
    outer = score[:, :, None] * x.flatten(1)[:, None, :]
    none_far("E[s xᵀ] + I", outer + torch.eye(world.dimension, dtype=torch.float64))


def check_sure(world: World, sigma: float, n: int = 800) -> None:
    """E‖x₀ − D‖² = E[‖x − D‖² + 2σ² tr J_D] − σ²d, trace by automatic differentiation, and as E‖x − x₀‖² implies it.

    The first holds for any denoiser and shows that the derivative is right, the second only for the best one.
    """
    clean, x = noisy(world, sigma, n)
    denoised, derivative = jacobian(world, x, sigma)
    traced = sigma**2 * derivative.diagonal(dim1=1, dim2=2).sum(1)
    moved = (x.flatten(1) - denoised).square().sum(1)
    implied = world.mean_square(x, sigma) - moved
    error = (clean.flatten(1) - denoised).square().sum(1)
    gaps = [moved + 2 * trace - sigma**2 * world.dimension - error for trace in (traced, implied)]
    none_far("SURE − MSE", torch.stack(gaps, 1))


def check_mean_square_is_the_distance(world: World, sigma: float, n: int = 3000) -> None:
    """E[E[‖x − x₀‖² | x]] = E‖x − x₀‖², also against squares of functions of x: ‖x − ½‖²."""
    clean, x = noisy(world, sigma, n)
    gap = world.mean_square(x, sigma) - (x - clean).flatten(1).square().sum(1)
    none_far("mean square", torch.stack([gap, gap * (x - 0.5).flatten(1).square().sum(1)], 1))


def check_posterior_is_calibrated(world: World, sigma: float, n: int = 3000) -> None:
    """E[1(y = c) − p(c | x)] = 0, also against the first pixels of x."""
    labels = torch.nn.functional.one_hot(world.sample(n, 21).y, world.classes)
    x = noisy(world, sigma, n)[1]
    gap = labels - world.log_posterior(x, sigma).exp()
    none_far("calibration", torch.cat([gap, gap * (x.flatten(1)[:, :1] - 0.5), gap * (x.flatten(1)[:, 1:2] - 0.5)], 1))


AVERAGES = {name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")}
