"""The identities of a world as functions that raise AssertionError: for true worlds, and for ones broken on purpose.

Every check takes a world, its reference (or None where the identity needs none), images (N, C, H, W), labels and σ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.numerics import energy_fraction, norms, per_example
from tangency.seeding import Draw
from tangency.worlds import World
from worlds.world_reference import Reference, gradient, hessian

Z = 4.8  # of a z-test: one in a million, two-sided


def close(what: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Raise unless the largest error is within tolerance × max(1, largest expected)."""
    assert found.shape == expected.shape, f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
    error = float((found - expected).abs().max()) / max(1.0, float(expected.abs().max()))
    assert error <= tolerance, f"{what}: off by {error:.2e}, more than {tolerance:.0e}"


def each(function, x: Tensor, y: Tensor | None = None) -> Tensor:
    """A function of one flat image (and a label) over a batch."""
    labels = [None] * len(x) if y is None else y.tolist()
    return torch.stack([function(row, label) for row, label in zip(x.flatten(1), labels, strict=True)])


def bayes_gradient(world: World, x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """∇ log p_σ(y | x) from direction and log norm; zero where the direction is."""
    found = world.bayes_direction(x, y, sigma)
    length = norms(found.direction)
    factor = torch.where(length > 0, found.log_norm.exp() / length, 0.0)
    return found.direction * per_example(factor, x)


def labels_like(x: Tensor, label: int) -> Tensor:
    return torch.full((len(x),), label)


def jacobian(world: World, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """D (N, d) and J_D (N, d, d), by automatic differentiation of the world's own arithmetic."""
    x = x.detach().clone().requires_grad_(True)
    denoised = world.denoise(x, sigma).flatten(1)
    eye = torch.eye(world.dimension, dtype=torch.float64)
    # an image's denoiser depends on that image alone, so the sum over images has all their derivatives
    (rows,) = torch.autograd.grad(denoised.sum(0), x, eye, is_grads_batched=True)
    return denoised.detach(), rows.flatten(2).transpose(0, 1)


def check_densities(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """log p_σ(x), log p_σ(x | y), log p_σ(x, c) and log p(c)."""
    close("log p(x)", world.log_density(x, sigma), each(lambda r, _: ref.log_density(r, sigma), x), 1e-11)
    found = world.log_density_given(x, sigma, y)
    close("log p(x | y)", found, each(lambda r, c: ref.log_density(r, sigma, c), x, y), 1e-11)
    close("log p(x, c)", world.log_class_joint(x, sigma), each(lambda r, _: ref.log_joint(r, sigma), x), 1e-11)
    close("log p(c)", world.log_prior(), ref.log_weights.logsumexp(0), 1e-11)


def check_posterior(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """log p_σ(c | x)."""
    close("posterior", world.log_posterior(x, sigma), each(lambda r, _: ref.log_posterior(r, sigma), x), 1e-9)


def check_scores(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """∇ log p_σ(x) and ∇ log p_σ(x | y)."""
    plain = each(lambda r, _: gradient(lambda z: ref.log_density(z, sigma), r), x)
    close("score", world.score(x, sigma).flatten(1), plain, 1e-10)
    given = each(lambda r, c: gradient(lambda z: ref.log_density(z, sigma, c), r), x, y)
    close("score given y", world.score(x, sigma, y).flatten(1), given, 1e-10)


def check_weighted_score(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """Σ_c w_c ∇ log p_σ(x | c) for weights of any sign and sum, here 1, −2, 3, …"""
    weights = torch.tensor([(-1.0) ** c * (c + 1) for c in range(world.classes)], dtype=torch.float64)
    found, _ = world.weighted_score(x, sigma, lambda joint, _: weights.expand_as(joint))

    def one(row: Tensor, _: None) -> Tensor:
        given = [gradient(lambda z, c=c: ref.log_density(z, sigma, c), row) for c in range(world.classes)]
        return weights @ torch.stack(given)

    close("weighted score", found.flatten(1), each(one, x), 1e-10)


def check_tweedie(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """D(x; σ) = x + σ² ∇ log p_σ(x), the gradient being the reference's."""
    for label in (None, y):
        expected = each(lambda r, c: r + sigma**2 * gradient(lambda z: ref.log_density(z, sigma, c), r), x, label)
        close("Tweedie", world.denoise(x, sigma, label).flatten(1), expected, 1e-12)


def check_posterior_mean(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """D(x; σ) = E[x₀ | x], by conditioning."""
    for label in (None, y):
        expected = each(lambda r, c: ref.posterior_mean(r, sigma, c), x, label)
        close("posterior mean", world.denoise(x, sigma, label).flatten(1), expected, 1e-12)


def check_jacobian(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """J_D = I + σ² ∇² log p_σ, symmetric and positive."""
    _, found = jacobian(world, x, sigma)
    curvature = each(lambda r, _: hessian(ref, r, sigma), x)
    close("J_D", found, torch.eye(world.dimension, dtype=torch.float64) + sigma**2 * curvature, 1e-9)
    close("J_D transposed", found, found.mT, 1e-10)
    least = float(torch.linalg.eigvalsh(found).min())
    assert least > -1e-10, f"J_D: eigenvalue {least:.2e}, expected none below zero"


def check_local_dimension(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """E‖x − x₀‖²/σ² in its other two forms: d + σ²(Δ log p + ‖s‖²) and tr J_D + ‖x − D‖²/σ²."""
    found = world.local_dimension(x, sigma)

    def flow(row: Tensor, _: None) -> Tensor:
        laplacian = hessian(ref, row, sigma).trace()
        score = gradient(lambda z: ref.log_density(z, sigma), row)
        return len(row) + sigma**2 * (laplacian + score.square().sum())

    close("FLIPD", found, each(flow, x), 1e-9)
    denoised, derivative = jacobian(world, x, sigma)
    moved, trace = (x.flatten(1) - denoised).square().sum(1), derivative.diagonal(dim1=1, dim2=2).sum(1)
    close("trace form", found, trace + moved / sigma**2, 1e-9)
    close("posterior form", found, each(lambda r, _: ref.mean_square(r, sigma), x) / sigma**2, 1e-9)


def check_bayes_direction(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """Direction = ∇ log-odds; log norm = log ‖∇ log p_σ(y | x)‖."""
    found = world.bayes_direction(x, y, sigma)
    odds = each(lambda r, c: gradient(lambda z: ref.log_odds(z, sigma, c), r), x, y)
    close("log-odds direction", found.direction.flatten(1), odds, 1e-9)
    rest = each(lambda r, c: -torch.nn.functional.softplus(ref.log_odds(r, sigma, c)), x, y)
    close("log norm", found.log_norm, norms(odds).log() + rest, 1e-8)


def check_bayes_gradients_cancel(world: World, ref: Reference | None, x: Tensor, y: Tensor, sigma: float) -> None:
    """Σ_y p(y | x) ∇ log p(y | x) = 0."""
    posterior = world.log_posterior(x, sigma).exp()
    total, size = torch.zeros_like(x), torch.zeros_like(x)
    for label in range(world.classes):
        part = per_example(posterior[:, label], x) * bayes_gradient(world, x, labels_like(x, label), sigma)
        total, size = total + part, size + part.abs()
    close("Σ p ∇ log p", total / max(1.0, float(size.max())), torch.zeros_like(x), 1e-10)


def check_class_scores_average(world: World, ref: Reference | None, x: Tensor, y: Tensor, sigma: float) -> None:
    """Score = Σ_y p(y | x) score given y."""
    posterior = world.log_posterior(x, sigma).exp()
    parts = [per_example(posterior[:, c], x) * world.score(x, sigma, labels_like(x, c)) for c in range(world.classes)]
    close("Σ p score", sum(parts), world.score(x, sigma), 1e-11)


def check_denoiser_difference(world: World, ref: Reference | None, x: Tensor, y: Tensor, sigma: float) -> None:
    """(D(x; σ, y) − D(x; σ))/σ² = ∇ log p(y | x) = (1 − p_y) · direction."""
    difference = (world.denoise(x, sigma, y) - world.denoise(x, sigma)) / sigma**2
    close("difference of denoisers", bayes_gradient(world, x, y, sigma), difference, 1e-10)
    rest = -torch.expm1(world.log_posterior(x, sigma).gather(1, y[:, None]).squeeze(1))
    close("(1 − p) direction", per_example(rest, x) * world.bayes_direction(x, y, sigma).direction, difference, 1e-10)


def check_finite_differences(world: World, ref: Reference | None, x: Tensor, y: Tensor, sigma: float) -> None:
    """Central differences of log p_σ along random directions are the score."""
    along = Draw(3, torch.arange(len(x)), "differences").normal(world.shape, torch.float64)
    step = 1e-4 * max(sigma, 0.01)
    rise = (world.log_density(x + step * along, sigma) - world.log_density(x - step * along, sigma)) / (2 * step)
    close("finite difference", rise, (world.score(x, sigma) * along).flatten(1).sum(1), 1e-6)


def check_bayes_span(world: World, ref: Reference | None, x: Tensor, y: Tensor, sigma: float) -> None:
    """Every Bayes gradient lies in the fixed span."""
    basis = world.bayes_span()
    close("span", basis.mT @ basis, torch.eye(basis.shape[1], dtype=torch.float64), 1e-12)
    rows = world.bayes_direction(x, y, sigma).direction.flatten(1)
    residual = norms(rows - rows @ basis @ basis.mT) / norms(rows)
    assert float(residual.max()) < 1e-12, f"outside the span: {float(residual.max()):.2e}"


def check_tangent_basis(world: World, ref: Reference | None, x: Tensor, y: Tensor, sigma: float) -> None:
    """Orthonormal, of the right rank, and complete together with the normal basis."""
    basis, rank = world.tangent_basis(x)
    k, d = world.intrinsic_dimension, world.dimension
    assert rank.tolist() == [k] * len(x), f"rank {rank.tolist()}, expected {k}"
    eye = torch.eye(d, dtype=torch.float64).expand(len(x), -1, -1)
    close("tangents", basis.mT @ basis, eye[:, :k, :k], 1e-12)
    whole = torch.cat([basis, world.normal_basis(x)], 2)
    close("tangents and normals", whole.mT @ whole, eye, 1e-12)


def check_tangent_is_where_images_move(world: World, ref: Reference, x: Tensor, y: Tensor, sigma: float) -> None:
    """The top eigenvectors of J_D at clean images and small noise span the tangent space."""
    clean = world.sample(len(x), 5).x
    curvature = each(lambda r, _: hessian(ref, r, sigma), clean)
    top = torch.linalg.eigh(curvature).eigenvectors[:, :, -world.intrinsic_dimension :]
    basis, _ = world.tangent_basis(clean)
    inside = torch.stack([energy_fraction(basis, top[:, :, i]) for i in range(top.shape[2])])
    assert float(inside.min()) > 0.98, f"tangents: share {float(inside.min()):.3f} of an eigenvector inside"


CHECKS = {name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")}
