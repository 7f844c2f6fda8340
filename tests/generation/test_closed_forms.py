"""Generation where the right answer is a formula: Gaussian worlds, mixtures, linear classifiers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from support import make_mixture
from tangency.generation.conditional import Conditional, pixel_mixture
from tangency.generation.counterfactuals import counterfactual
from tangency.generation.energy import JointLogits, energy_denoise
from tangency.generation.engine import Plan, ascend
from tangency.generation.objectives import WithLikelihood
from tangency.generation.operators import AveragePool, Mask
from tangency.generation.options import Climb
from tangency.generation.reference import restore_by_score
from tangency.generation.seeds import class_seed
from tangency.generation.steps import GradientStep
from tangency.generation.tasks.denoise import denoise
from tangency.generation.tasks.restoration import restore
from tangency.score import MixtureScore
from tangency.seeding import Draw
from tangency.worlds import make_world

WORLDS = ["linear?rank=3&classes=3&shape=1x8x8", "offset?rank=3&shape=1x8x8&noise=0.001", "rotated?rank=3&shape=1x8x8"]


def gaussian(shape=(1, 4, 4), rank=3, noise=0.1, seed=0):
    """One Gaussian whose covariance is well conditioned, so that ascent converges in a few hundred steps."""
    mixture = make_mixture(shape, 1, 1, rank, noise, seed)
    return mixture, covariance(mixture)


def covariance(mixture):
    loadings = mixture.loadings[0]
    return loadings @ loadings.T + torch.diag(mixture.noise[0])


class OneClass:
    """A law of one class, with a second one of no weight at all, as logits need two."""

    def __init__(self, mixture):
        self.mixture = mixture

    def log_class_joint(self, x, sigma):
        joint = self.mixture.log_class_joint(x, sigma)
        return torch.cat([joint, torch.full_like(joint, -1e6)], 1)


def raise_energy(mixture):
    model = JointLogits(OneClass(mixture))
    return lambda x: model(x).logsumexp(1)


@pytest.mark.parametrize("reference", WORLDS)
@pytest.mark.parametrize("labelled", [False, True])
def test_ascent_of_a_true_energy_is_the_denoiser(reference: str, labelled: bool) -> None:
    world, sigma = make_world(reference), 0.2
    drawn = world.sample(20, 0)
    x = drawn.x + sigma * Draw(0, torch.arange(20)).normal(world.shape, torch.float64)
    y = drawn.y if labelled else None
    found = energy_denoise(JointLogits(world, sigma), x, sigma, y)
    exact = world.denoise(x, sigma, y)
    assert ((found - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)).max() < 1e-10


def test_ascent_with_the_likelihood_is_the_closed_form_map() -> None:
    mixture, s = gaussian()
    sigma, mean = 0.3, mixture.means[0]
    noisy = mixture.sample(5, 0)[0] + sigma * Draw(1, torch.arange(5)).normal(mixture.shape, torch.float64)
    exact = mean + (noisy.flatten(1) - mean) @ torch.linalg.inv(s + sigma**2 * torch.eye(16)) @ s
    objective = WithLikelihood(raise_energy(mixture), noisy, sigma)
    least = 1 / (1 / torch.linalg.eigvalsh(s)[0] + 1 / sigma**2)
    plan = Plan(GradientStep(float(least)), 300)
    found = ascend(objective, noisy, plan, draw=Draw(0, torch.arange(5)))
    assert (found.images.flatten(1) - exact).abs().max() < 1e-6
    # and so by the task, through logits
    climb = Climb("energy", steps=300, rule="gradient", length=float(least), bounds=None)
    model = JointLogits(OneClass(mixture))
    told = denoise(model, noisy, climb, draw=Draw(0, torch.arange(5)), sigma=sigma, label="energy", likelihood=True)
    assert (told.ascent.images.flatten(1) - exact).abs().max() < 1e-6
    assert (told.labels == -1).all()


def conditional_mean(mixture, matrix, measured):
    """μ + ΣAᵀ(AΣAᵀ)⁻¹(r − Aμ), dense."""
    s, mean = covariance(mixture), mixture.means[0]
    gain = s @ matrix.T @ torch.linalg.inv(matrix @ s @ matrix.T)
    return mean + (measured - mean @ matrix.T) @ gain.T


@pytest.mark.parametrize("kind", ["mask", "pool"])
def test_restoring_an_image_of_a_gaussian_world_is_its_conditional_mean(kind: str) -> None:
    mixture, s = gaussian()
    x = mixture.sample(6, 0)[0]
    if kind == "mask":
        keep = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5
        operator, matrix = Mask(keep), torch.eye(16, dtype=torch.float64)[keep.flatten()]
        rows = x.flatten(1) @ matrix.T
    else:
        operator = AveragePool(2)
        matrix = operator.apply(torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)).flatten(1).T
        rows = operator.apply(x).flatten(1)
    exact = conditional_mean(mixture, matrix, rows)
    measured = operator.apply(x)
    closed = Conditional(mixture, operator, measured)
    assert (closed.mean().flatten(1) - exact).abs().max() < 1e-10
    start = torch.full_like(x, 0.5)
    climb = Climb("energy", steps=400, rule="gradient", length=float(torch.linalg.eigvalsh(s)[0]), bounds=None)
    model = JointLogits(OneClass(mixture))
    found = restore(model, operator, measured, start, climb, draw=Draw(0, torch.arange(6)), label="energy")
    assert (found.ascent.images.flatten(1) - exact).abs().max() < 1e-6
    assert (operator.apply(found.ascent.images) - measured)[
        operator.seen(measured).expand_as(measured)
    ].abs().max() < 1e-9


def test_conditional_of_a_mixture_is_bayes_rule_over_its_components() -> None:
    mixture = make_mixture((1, 4, 4), 2, 2, 2, 0.03, isotropic=False)
    x, y = mixture.sample(7, 3)
    keep = torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(1)) < 0.4  # a mask for each image
    found = Conditional(mixture, Mask(keep), x * keep)
    for i in range(7):
        seen = keep[i].flatten()
        evidence, means = [], []
        for j in range(4):
            alone = dataclasses.replace(
                mixture,
                means=mixture.means[j : j + 1],
                loadings=mixture.loadings[j : j + 1],
                noise=mixture.noise[j : j + 1],
            )
            s = covariance(alone)
            law = torch.distributions.MultivariateNormal(alone.means[0][seen], s[seen][:, seen])
            evidence.append(mixture.log_weights[j] + law.log_prob(x[i].flatten()[seen]))
            means.append(conditional_mean(alone, torch.eye(16, dtype=torch.float64)[seen], x[i].flatten()[seen]))
        p = torch.stack(evidence).softmax(0)
        assert (found.responsibilities[i] - p).abs().max() < 1e-9
        assert (found.mean()[i].flatten() - p @ torch.stack(means)).abs().max() < 1e-9
    labelled = Conditional(mixture, Mask(keep), x * keep, y)
    assert (labelled.responsibilities * (mixture.component_class != y[:, None])).max() == 0


def test_measuring_everything_with_noise_is_denoising() -> None:
    mixture = make_mixture((2, 3, 4), 3, 2, 2)
    noisy = mixture.sample(9, 0)[0] + 0.1
    found = Conditional(mixture, Mask(torch.ones(1, 1, 3, 4, dtype=torch.bool)), noisy, noise=0.2)
    assert (found.mean() - mixture.denoise(noisy, 0.2)).abs().max() < 1e-10


@pytest.mark.parametrize("kind", ["mask", "pool"])
def test_draws_have_the_conditional_mean_and_covariance(kind: str) -> None:
    mixture, s = gaussian((1, 2, 4))
    n, tau = 20_000, 0.1
    keep = torch.tensor([True, False, True, False, False, False, True, False]).reshape(1, 1, 2, 4)
    operator = Mask(keep) if kind == "mask" else AveragePool(2)
    x = mixture.sample(1, 5)[0]
    measured = operator.apply(x).expand(n, -1, -1, -1)
    found = Conditional(mixture, operator, measured, noise=tau).draw(Draw(0, torch.arange(n))).flatten(1)
    eye = torch.eye(8, dtype=torch.float64)
    matrix = eye[keep.flatten()] if kind == "mask" else operator.apply(eye.reshape(8, 1, 2, 4)).flatten(1).T
    r = measured[0].flatten()[keep.flatten()] if kind == "mask" else measured[0].flatten()
    gain = s @ matrix.T @ torch.linalg.inv(matrix @ s @ matrix.T + tau**2 * torch.eye(len(matrix)))
    mean = mixture.means[0] + gain @ (r - matrix @ mixture.means[0])
    spread = s - gain @ matrix @ s
    assert ((found.mean(0) - mean) / (spread.diagonal() / n).sqrt()).abs().max() < 4.5
    assert (found.T.cov() - spread).abs().max() < 5 * spread.diagonal().max() * (2 / n) ** 0.5


def test_a_world_as_a_mixture_of_images_has_its_density() -> None:
    for reference in ("linear?rank=3&classes=2&shape=1x8x8", "rotated?rank=2&shape=1x8x8&noise=0.001"):
        world = make_world(reference)
        x = world.sample(5, 0).x
        mixture = pixel_mixture(world)
        assert torch.allclose(mixture.log_class_joint(x, 0.1), world.log_class_joint(x, 0.1), rtol=1e-9, atol=1e-7)


def test_class_seeds_are_draws_from_the_class() -> None:
    mixture = make_mixture((1, 2, 3), 2, 2, 2)
    n = 20_000
    y = torch.ones(n, dtype=torch.int64)
    x = class_seed(mixture, y, Draw(0, torch.arange(n))).flatten(1)
    own = mixture.component_class == 1
    p = mixture.log_weights[own].softmax(0)
    mean = p @ mixture.means[own]
    assert ((x.mean(0) - mean) / (x.var(0) / n).sqrt()).abs().max() < 4.5
    assert torch.equal(x[7], class_seed(mixture, y[:1], Draw(0, torch.tensor([7]))).flatten())


def test_langevin_noise_has_the_stationary_law_of_the_discrete_chain() -> None:
    """x ← x − ηλx + √(2η) n on −λx²/2 has variance 2η/(1 − (1 − ηλ)²) exactly."""
    n, rate, size = 8000, 4.0, 0.1
    plan = Plan(GradientStep(size), 60, noise=(2 * size) ** 0.5)
    start = torch.zeros(n, 1, 1, 2, dtype=torch.float64) + 1e-9
    found = ascend(lambda x: -rate * x.square().sum((1, 2, 3)) / 2, start, plan, draw=Draw(0, torch.arange(n)))
    exact = 2 * size / (1 - (1 - size * rate) ** 2)
    assert found.images.var() == pytest.approx(exact, rel=4.5 * (2 / (2 * n)) ** 0.5)
    assert (found.steps == 60).all()


def linear_net(d: int, classes: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(d, classes)).double()


def test_a_counterfactual_of_a_linear_classifier_is_the_projection_on_its_boundary() -> None:
    net = linear_net(12, 2)
    x = torch.rand(10, 3, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        y = net(x).argmax(1)
        w = net[1].weight[1 - y] - net[1].weight[y]
        gap = net(x)[torch.arange(10), 1 - y] - net(x)[torch.arange(10), y]
        exact = x.flatten(1) - (gap / w.square().sum(1))[:, None] * w
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        found = counterfactual(net.to(dtype), x.to(dtype), 1 - y, bounds=None, steps=3)
        assert (found.images.flatten(1) - exact).abs().max() < tolerance
        assert found.reached.all()
        assert (found.distances - (exact - x.flatten(1)).norm(dim=1)).abs().max() < 10 * tolerance


def test_with_many_classes_it_is_the_nearest_point_of_the_decision_region() -> None:
    """Against a quadratic program of scipy, with a margin, with and without bounds."""
    from scipy.optimize import minimize

    net = linear_net(8, 5, seed=2)
    x = torch.rand(6, 1, 2, 4, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 3, 4, 2])
    weight, bias = net[1].weight.detach().numpy(), net[1].bias.detach().numpy()
    for bounds in (None, (0.0, 1.0)):
        found = counterfactual(net, x, target, margin=0.1, bounds=bounds, steps=5)
        for i, t in enumerate(target.tolist()):
            others = [c for c in range(5) if c != t]
            a, b = weight[t] - weight[others], bias[t] - bias[others] - 0.1
            origin = x[i].flatten().numpy()
            best = minimize(
                lambda z, origin=origin: ((z - origin) ** 2).sum(),
                origin,
                jac=lambda z, origin=origin: 2 * (z - origin),
                constraints={"type": "ineq", "fun": lambda z, a=a, b=b: a @ z + b, "jac": lambda z, a=a: a},
                bounds=[bounds] * 8 if bounds else None,
                method="SLSQP",
                options={"ftol": 1e-14, "maxiter": 500},
            )
            if best.success:
                assert found.reached[i]
                exact = float(np.sqrt(best.fun))
                assert float(found.distances[i]) == pytest.approx(exact, rel=1e-5 if bounds is None else 2e-2, abs=1e-6)


def test_null_space_guidance_keeps_what_was_measured_and_finds_the_rest() -> None:
    mixture = make_mixture((1, 4, 4), 2, 1, 2, 1e-4)
    x, y = mixture.sample(12, 0)
    keep = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    keep[..., 1:3, 1:3] = False
    found = restore_by_score(MixtureScore(mixture), Mask(keep), x * keep, Draw(0, torch.arange(12)), budget=61)
    assert found.evaluations == 61
    assert torch.allclose(found.images * keep, (x * keep).float())
    exact = Conditional(mixture, Mask(keep), x * keep).mean()
    hidden = ~keep.expand_as(x)
    own, other = (((found.images - exact) * hidden).square().sum() for exact in (exact, exact.roll(1, 0)))
    assert own < 0.2 * other  # it is this image's missing part, and no other's


def test_a_tie_without_a_gradient_is_not_reached() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    torch.nn.init.zeros_(net[1].weight)
    torch.nn.init.zeros_(net[1].bias)
    x = torch.rand(2, 1, 2, 2)
    found = counterfactual(net, x, torch.tensor([0, 1]))
    assert found.stalled.all()
    assert not found.reached.any()
    assert torch.equal(found.images, x)
