"""Soft alignment against the closed form of a mixture's Jacobian, its floor, and controls of equal trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.measures import MeasureConfig, measure
from tangency.tangents import DenoiserTangents, KrylovOptions, soft_alignment
from tangency.worlds import BayesClassifier, World, drawn, make_world

SIGMA = 0.15


def mixture_jacobian(world: World, x: Tensor, sigma: float) -> Tensor:
    """J = Σⱼ rⱼ[Sⱼ − Sⱼ(Sⱼ + σ²I)⁻¹Sⱼ]/σ² + Cov of the components' posterior means/σ², for one flat image, (d, d).

    Law of total covariance of x₀ | x, with dense covariances in pixels.
    """
    mixture, placed = world.core.mixture, world.embedding
    d = world.dimension
    u = torch.eye(d, dtype=torch.float64) if placed.basis is None else placed.basis
    inner = mixture.loadings @ mixture.loadings.mT + torch.diag_embed(mixture.noise)
    covariance = placed.scale**2 * u @ inner @ u.T + placed.noise * torch.eye(d, dtype=torch.float64)
    means = placed.offset + placed.scale * mixture.means @ u.T
    noisy = covariance + sigma**2 * torch.eye(d, dtype=torch.float64)
    laws = torch.distributions.MultivariateNormal(means, noisy)
    share = (mixture.log_weights + laws.log_prob(x)).softmax(0)
    gain = torch.linalg.solve(noisy, covariance)
    left = covariance - covariance @ gain
    posterior = means + torch.einsum("kij,ki->kj", gain, x - means)
    away = posterior - share @ posterior
    return (torch.einsum("k,kij->ij", share, left) + torch.einsum("k,ki,kj->ij", share, away, away)) / sigma**2


@pytest.fixture(scope="module")
def case() -> tuple[World, Tensor, Tensor, Tensor]:
    world = make_world("linear?shape=1x5x6&rank=4&classes=3")
    x = world.sample(5, 0).x
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return world, x, gradient, torch.stack([mixture_jacobian(world, row, SIGMA) for row in x.flatten(1)])


def quotient(jacobian: Tensor, gradient: Tensor) -> Tensor:
    rows = gradient.flatten(1)
    return torch.einsum("ni,nij,nj->n", rows, jacobian, rows) / rows.square().sum(1)


def test_it_is_the_quotient_with_the_closed_form_of_a_mixtures_jacobian(case) -> None:
    world, x, gradient, jacobian = case
    found = soft_alignment(world, x, gradient, SIGMA)
    torch.testing.assert_close(found.alignment, quotient(jacobian, gradient), rtol=1e-9, atol=1e-12)
    assert found.control is None


def test_the_estimator_with_soft_weights_falls_short_of_it_by_the_directions_that_it_leaves_out(case) -> None:
    """Weights are the leading eigenvalues in [0, 1]; the rest of the sum lies below the next eigenvalue."""
    world, x, gradient, jacobian = case
    values = torch.linalg.eigvalsh(jacobian).flip(1)
    soft = DenoiserTangents(world, KrylovOptions(SIGMA, rank=4, soft=True)).at(x)
    torch.testing.assert_close(soft.weights, values[:, :4].clamp(0, 1), rtol=0, atol=1e-8)
    torch.testing.assert_close(soft.trace, values[:, :4].clamp(0, 1).sum(1), rtol=0, atol=1e-7)
    above = (values[:, 0] - 1).clamp(min=0)  # what is cut off
    gap = quotient(jacobian, gradient) - soft.fraction(gradient)
    assert float(gap.min()) > 1e-5
    assert bool((gap < values[:, 4] + above + 1e-9).all())


def test_its_floor_is_the_trace_over_the_dimension_and_the_mean_over_random_directions(case) -> None:
    world, x, _, jacobian = case
    trace = jacobian.diagonal(dim1=1, dim2=2).sum(1) / 30
    random = torch.randn(400, *x.shape[1:], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = soft_alignment(world, x, x, SIGMA, probes=400)
    assert float(((found.floor - trace) / found.floor_error).abs().max()) < 4
    values = soft_alignment(world, x[:1].repeat(400, 1, 1, 1), random, SIGMA, probes=2).alignment
    assert abs(float(values.mean() - trace[0])) < 4 * float(values.std()) / 20


def test_the_control_has_the_trace_of_the_image_that_it_controls(case) -> None:
    world, x, gradient, jacobian = case
    partners = x.roll(1, 0)
    found = soft_alignment(world, x, gradient, SIGMA, partners=partners, probes=500)
    theirs = jacobian.roll(1, 0)
    trace = [matrix.diagonal(dim1=1, dim2=2).sum(1) for matrix in (jacobian, theirs)]
    expected = quotient(theirs, gradient) * trace[0] / trace[1]
    torch.testing.assert_close(found.control, expected, rtol=0.02, atol=0)
    own = soft_alignment(world, x, gradient, SIGMA, partners=x, probes=2)
    torch.testing.assert_close(own.control, own.alignment)


def test_measures_of_a_soft_space_stand_beside_controls_of_equal_trace() -> None:
    """On the linear world F² of the Bayes rule is soft's mean weight, and a random direction's is tr P/d."""
    world = make_world("linear?shape=1x6x6&rank=4&classes=3")
    data = drawn(world, 60, 0)
    soft = DenoiserTangents(world, KrylovOptions(0.1, rank=4, soft=True))
    config = MeasureConfig(sigmas=(0.1,), rho_sigmas=(), epsilons=(), directions=1, metrics=("cosine",))
    x, rule = data.images(), BayesClassifier(world, 0.1)
    rows = measure(rule, x, data.labels, train_data=data, score=world, tangents=soft, config=config)
    space, gradient = soft.at(x), world.bayes_direction(x.double(), data.labels, 0.1).direction
    own = rows["tangent_fraction.margin"]
    assert float(space.trace.max()) < 4
    assert torch.all(own <= space.weights.amax(1) + 1e-5)
    assert torch.all(own >= space.weights.amin(1) - 1e-3)
    assert gradient.shape == x.shape
    pca = rows["tangent_fraction.margin.pca"]
    assert torch.all(pca <= space.weights.amax(1) + 1e-5)  # a hard control would reach 1


def test_zero_directions_are_unknown_and_faulty_calls_refused(case) -> None:
    world, x, gradient, _ = case
    gradient = gradient.clone()
    gradient[2] = 0
    found = soft_alignment(world, x, gradient, SIGMA)
    assert torch.isnan(found.alignment).tolist() == [False, False, True, False, False]
    assert bool(torch.isfinite(found.floor).all())
    with pytest.raises(NumericsError, match="expected equal shapes"):
        soft_alignment(world, x, gradient[:2], SIGMA)
    with pytest.raises(NumericsError, match="at least 2"):
        soft_alignment(world, x, gradient, SIGMA, probes=1)
