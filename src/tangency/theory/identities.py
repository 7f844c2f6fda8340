"""Identities that hold in every world at every noise level; if one fails, a formula of the world is wrong.

The references share nothing with the formulas they test: gradients come from automatic differentiation or finite
differences of log p, expectations from Monte Carlo.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from tangency.numerics import norms
from tangency.seeding import Draw
from tangency.theory.claims import Claim, mean_claim, relative_error, zero_claim
from tangency.types import Direction
from tangency.worlds import World

TOPIC = "identities"
_zero = partial(zero_claim, TOPIC)
_LARGEST = 300  # pixels up to which full Jacobians are formed
_MANY = 4000  # images of a Monte Carlo mean


def noisy(world: World, n: int, sigma: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """n images x₀ + σ·noise, (n, C, H, W) float64, with their labels and x₀."""
    sample = world.sample(n, seed)
    noise = Draw(seed, torch.arange(n), f"noise at {sigma}").normal(world.shape, torch.float64)
    return sample.x + sigma * noise, sample.y, sample.x


def at(world: World, sigma: float) -> str:
    """Where a claim was checked, in words."""
    return f"{world.name}, σ = {sigma:g}"


def gradient_of(function: Callable[[Tensor], Tensor], x: Tensor, graph: bool = False) -> Tensor:
    """∇_x of a function of each image, by automatic differentiation."""
    x = x if graph else x.detach().clone().requires_grad_(True)
    gradient: Tensor = torch.autograd.grad(function(x).sum(), x, create_graph=graph)[0]
    return gradient


def jacobian_of(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The dense Jacobian of a function of one vector, (outputs, inputs)."""
    jacobian: Callable[..., Tensor] = torch.autograd.functional.jacobian  # which has no annotations
    return jacobian(function, x)


def identities(world: World, sigma: float, seed: int = 0) -> list[Claim]:
    """Every identity at one noise level σ > 0 (pixel units)."""
    name = at(world, sigma)
    x, y, _ = noisy(world, 16, sigma, seed)
    log_gradient = gradient_of(lambda z: world.log_density(z, sigma), x)
    tweedie = (world.denoise(x, sigma) - x - sigma**2 * log_gradient).abs().max()
    error = relative_error(world.score(x, sigma), log_gradient)
    claims = [
        _zero("s_σ = ∇ log p_σ, by automatic differentiation", name, error),
        _zero("Tweedie: D(x; σ) = x + σ²∇ log p_σ(x)", name, float(tweedie / x.abs().max().clamp(min=1)), 1e-12),
        _zero("finite differences of log p_σ", name, _finite_difference_error(world, x, sigma, seed), 1e-6),
        *_class_claims(world, x, y, sigma, name),
        *_monte_carlo(world, sigma, seed, name),
    ]
    return claims + (_second_order(world, x[:2], sigma, name) if world.dimension <= _LARGEST else [])


def _finite_difference_error(world: World, x: Tensor, sigma: float, seed: int) -> float:
    """Relative error of central differences along random directions."""
    along = Draw(seed, torch.arange(len(x)), "difference").normal(world.shape, torch.float64)
    along = along / along.flatten(1).norm(dim=1)[:, None, None, None]
    step = 1e-4 * sigma
    rise = world.log_density(x + step * along, sigma) - world.log_density(x - step * along, sigma)
    exact = (world.score(x, sigma) * along).flatten(1).sum(1)
    return float(((rise / (2 * step) - exact).abs() / exact.abs().max()).max())


def _class_claims(world: World, x: Tensor, y: Tensor, sigma: float, name: str) -> list[Claim]:
    """Σ_y p_y ∇log p(y|x) = 0; s = Σ_y p_y s_y; the Bayes gradient as a difference of denoisers and by autograd."""
    posterior = world.log_posterior(x, sigma).exp()
    total, marginal = torch.zeros_like(x), torch.zeros_like(x)
    largest = torch.zeros(len(x), dtype=torch.float64)
    for c in range(world.classes):
        label = torch.full((len(x),), c)
        direction = world.bayes_direction(x, label, sigma)
        gradient = gradient_at(direction)
        p = posterior[:, c][:, None, None, None]
        total += p * gradient
        marginal += p * world.score(x, sigma, label)
        largest = torch.maximum(largest, (p * gradient).flatten(1).norm(dim=1))
    gradient = gradient_at(world.bayes_direction(x, y, sigma))
    difference = (world.denoise(x, sigma, y) - world.denoise(x, sigma)) / sigma**2
    own = gradient_of(lambda z: world.log_posterior(z, sigma).gather(1, y[:, None]).squeeze(1), x)
    scale = float(world.score(x, sigma).flatten(1).norm(dim=1).max())
    most = max(float(largest.max()), 1e-12 * scale)  # all terms underflow where the class is certain at every image
    return [
        _zero("Σ_y p(y|x) ∇ log p(y|x) = 0", name, float(total.flatten(1).norm(dim=1).max()) / most, 1e-9),
        _zero("s_σ(x) = Σ_y p(y|x) s_σ(x|y)", name, relative_error(marginal, world.score(x, sigma))),
        _zero("∇ log p(y|x) = (D(x; σ, y) − D(x; σ))/σ²", name, float((difference - gradient).abs().max()) / scale),
        _zero("∇ log p(y|x), by automatic differentiation", name, float((own - gradient).abs().max()) / scale),
    ]


def gradient_at(bayes: Direction) -> Tensor:
    """The gradient itself, from its direction and the logarithm of its norm."""
    length = norms(bayes.direction)
    return bayes.direction * (bayes.log_norm.exp() / length)[:, None, None, None]


def _second_order(world: World, x: Tensor, sigma: float, name: str) -> list[Claim]:
    """The Jacobian of the denoiser, and three forms of the local dimension."""
    d, claims = world.dimension, []
    for i, image in enumerate(x):
        rows = image.flatten()
        jacobian = jacobian_of(lambda z: world.denoise(z.reshape(1, *world.shape), sigma).flatten(), rows)

        def gradient(z: Tensor) -> Tensor:
            return gradient_of(lambda w: world.log_density(w.reshape(1, *world.shape), sigma), z, graph=True)

        hessian = jacobian_of(gradient, rows)
        eye = torch.eye(d, dtype=torch.float64)
        one = image[None]
        score = world.score(one, sigma).square().sum()
        left = float(d + sigma**2 * (hessian.trace() + score))
        middle = float(jacobian.trace() + (one - world.denoise(one, sigma)).square().sum() / sigma**2)
        right = float(world.local_dimension(one, sigma))
        least = float(torch.linalg.eigvalsh((jacobian + jacobian.mT) / 2).min())
        spread = float(max(abs(left - middle), abs(middle - right)) / d)
        where = f"{name}, image {i}"
        claims += [
            _zero("J_D is symmetric", where, float((jacobian - jacobian.mT).abs().max())),
            _zero("J_D = I + σ²∇² log p_σ", where, float((jacobian - eye - sigma**2 * hessian).abs().max())),
            Claim(TOPIC, "J_D is positive semi-definite: least eigenvalue", where, 0.0, least, 1e-10, "≥"),
            _zero("d + σ²(Δ log p + ‖s‖²) = tr J_D + ‖x − D‖²/σ² = E‖x − x₀‖²/σ²", where, spread, 1e-9),
        ]
    return claims


def _monte_carlo(world: World, sigma: float, seed: int, name: str) -> list[Claim]:
    """E s = 0, E[s xᵀ] = −I, and Stein's estimate of the denoising error, over images x ~ p_σ."""
    x, _, clean = noisy(world, _MANY, sigma, seed + 1)
    score = world.score(x, sigma).flatten(1)
    rows = (x - x.mean(0)).flatten(1)
    probe = torch.linalg.qr(Draw(seed, torch.arange(world.dimension), "probe").normal((2,), torch.float64)).Q
    a, b = probe.mT
    error = (world.denoise(x, sigma) - clean).flatten(1).square().sum(1)
    residual = (sigma**2 * score).square().sum(1)
    # E‖D − x₀‖² = E‖D − x‖² + 2σ² E tr J_D − σ²d, with tr J_D = E‖x − x₀‖²/σ² − ‖x − D‖²/σ² exactly
    trace = world.local_dimension(x, sigma) - residual / sigma**2
    stein = residual + 2 * sigma**2 * trace - sigma**2 * world.dimension
    off = (stein - error) / sigma**2
    return [
        mean_claim(TOPIC, "E s_σ = 0, along a random direction", name, 0.0, score @ a),
        mean_claim(TOPIC, "E[s_σ xᵀ] = −I, on the diagonal", name, -1.0, (score @ a) * (rows @ a)),
        mean_claim(TOPIC, "E[s_σ xᵀ] = −I, off the diagonal", name, 0.0, (score @ a) * (rows @ b)),
        mean_claim(TOPIC, "Stein's estimate = ‖D − x₀‖², mean difference over σ²", name, 0.0, off),
    ]
