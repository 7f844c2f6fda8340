"""Theorem 2: the gradient of the Bayes rule lies along the signal's manifold; its conditions, and where it fails."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tangency.measures import MeasureConfig, measure
from tangency.numerics import norms
from tangency.statistics import PairedBootstrap
from tangency.tangents import TangentSpace, WorldTangents
from tangency.theory.claims import Claim, Relation, relative_error, slope, zero_claim
from tangency.theory.identities import at, gradient_at, noisy
from tangency.worlds import BayesClassifier, GaussianCore, World, drawn, make_world, place_posterior

TOPIC = "theorem 2"
_LINEAR = "linear?shape=1x8x8&rank=5"


def theorem2(seed: int = 0) -> list[Claim]:
    """All claims about the gradient of the Bayes rule."""
    return [*_holds(seed), *_fails(seed), *_reported(seed), *_span(seed), *_leak(seed)]


def fractions(world: World, x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """F² of the Bayes gradient at each image, (N,)."""
    return TangentSpace(*world.tangent_basis(x)).fraction(world.bayes_direction(x, y, sigma).direction)


def _holds(seed: int) -> list[Claim]:
    """One subspace for all classes: the gradient lies in it, at every σ and every x."""
    world, claims = make_world(_LINEAR), []
    for sigma in (0.0, 0.05, 0.5):
        x, y, _ = noisy(world, 256, sigma, seed)
        off = float((1 - fractions(world, x, y, sigma)).max())
        title = "one subspace for all classes: 1 − F² of the Bayes gradient"
        claims.append(zero_claim(TOPIC, title, at(world, sigma), off, 1e-12))
    return claims


def _fails(seed: int) -> list[Claim]:
    """A subspace for each class: the gradient is normal, and grows as 1/σ² (the negative control)."""
    parallel = make_world("offset?shape=1x8x8&rank=5")
    claims = []
    for sigma in (0.03, 0.3):
        x, y, _ = noisy(parallel, 256, sigma, seed)
        name = at(parallel, sigma)
        largest = float(fractions(parallel, x, y, sigma).max())
        gradient = parallel.bayes_direction(x, y, sigma).direction.flatten(1)
        error = relative_error(gradient, _offset_pull(parallel, x, y, sigma))
        claims += [
            zero_claim(TOPIC, "parallel subspaces: F² of the Bayes gradient", name, largest, 1e-12),
            zero_claim(TOPIC, "parallel subspaces: the gradient is Σ_c w_c offset_c/(ψ + σ²)", name, error),
        ]
    return [*claims, *_turned(seed)]


def _turned(seed: int) -> list[Claim]:
    """Two subspaces at an angle: (I − P_y)(I − P_c)x leaves cos⁴(angle) of the energy normal as σ → 0."""
    angle, sigmas = 25.0, [0.005, 0.01, 0.02]
    world = make_world(f"rotated?shape=1x8x8&rank=3&classes=2&angle={angle:g}")
    x, y, _ = noisy(world, 256, 0.0, seed)
    share = float((1 - fractions(world, x, y, sigmas[0])).mean())
    gradients = [world.bayes_direction(x, y, sigma).direction for sigma in sigmas]
    growth = slope(sigmas, [float(norms(gradient).mean()) for gradient in gradients])
    expected = math.cos(math.radians(angle)) ** 4
    title = "turned subspaces: normal share 1 − F² of the Bayes gradient is cos⁴(angle)"
    return [
        Claim(TOPIC, title, at(world, sigmas[0]), expected, share, 2e-3),
        Claim(TOPIC, "turned subspaces: ‖∇ log-odds‖ grows as σ^−2, slope", world.name, -2.0, growth, 0.05),
    ]


def _offset_pull(world: World, x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """Σ_c w_c offset_c/(ψ + σ²), w from distances to the parallel subspaces alone, (N, d)."""
    core, placed = world.core, world.embedding
    assert isinstance(core, GaussianCore)
    assert placed.basis is not None
    offsets = placed.scale * core.mixture.means @ placed.basis.mT
    delta = placed.noise + sigma**2
    centred = x.flatten(1) - placed.offset
    logits = centred @ offsets.mT / delta - offsets.square().sum(1) / (2 * delta)
    own = torch.nn.functional.one_hot(y, world.classes).bool()
    weights = own.double() - logits.masked_fill(own, -math.inf).softmax(1)
    return weights @ offsets / delta


def _reported(seed: int) -> list[Claim]:
    """What `tangency.measure` says of the Bayes rule itself, on a world where it is tangent and where it is not."""
    claims = []
    thin = "offset?shape=1x8x8&rank=5&noise=1e-6"
    cases: tuple[tuple[str, Relation, float], ...] = ((_LINEAR, "≤", 1e-6), (thin, "≥", 1.0))
    for reference, relation, bound in cases:
        world = make_world(reference)
        data = drawn(world, 300, seed)
        config = MeasureConfig(sigmas=(0.05,), rho_sigmas=(0.01,), epsilons=(0.5,), directions=1, metrics=("cosine",))
        rule, x, tangents = BayesClassifier(world), data.pixels.double(), WorldTangents(world)
        rows = measure(rule, x, data.labels, train_data=data, score=world, tangents=tangents, config=config)
        fraction, rank = rows["tangent_fraction.margin"], rows["tangent_rank"]
        kappa = float(PairedBootstrap(len(rank), 1).pooled_kappa(fraction.numpy(), rank.numpy(), world.dimension)[0])
        word = "on" if relation == "≤" else "not on"
        kappa = min(kappa, 1e300)  # infinite where no gradient has any tangent part
        title = f"`measure` reports the Bayes rule as {word} the manifold: pooled κ"
        claims.append(Claim(TOPIC, title, reference, bound, kappa, 0.0, relation))
    return claims


def _span(seed: int) -> list[Claim]:
    """The exact generalisation: log p(y|x) = h(S(x)) has its gradient in the row space of J_S."""
    claims = []
    for reference in (_LINEAR, "offset?shape=1x8x8&rank=3", "rotated?shape=1x8x8&rank=3", "fitted?components=1&rank=6"):
        world = make_world(reference)
        sigma = 0.1
        x, y, _ = noisy(world, 128, sigma, seed)
        basis = world.bayes_span()
        gradient = world.bayes_direction(x, y, sigma).direction.flatten(1)
        rest = gradient - gradient @ basis @ basis.mT
        error = float((rest.norm(dim=1) / gradient.norm(dim=1)).max())
        title = f"the Bayes gradient lies in span{{A_j, μ_j − μ_l}}, {basis.shape[1]} of {world.dimension} dimensions"
        claims.append(zero_claim(TOPIC, title, at(world, sigma), error))
    return claims


def _leak(seed: int) -> list[Claim]:
    """Signal and distractor: nothing on the distractor where its place is certain, p(b)(1 − p(b)) times a pull else."""
    claims = []
    for mark, title in ((0.5, "certain"), (0.005, "open")):
        world = make_world(f"distractor?shape=1x16x8&rank=2&classes=2&mark={mark}&contrast=0.03&noise=0.01")
        x, y, _ = noisy(world, 256, 0.0, seed)
        place = place_posterior(world, x, 0.0)
        bayes = world.bayes_direction(x, y, 0.0)
        gradient = gradient_at(bayes)[:, 0, :8].flatten(1)
        error = float((gradient - _leakage(world, x, y)).abs().max() / gradient.abs().max())
        name = f"{world.name}: place {title}, mean p(b)(1 − p(b)) = {float((place * (1 - place)).mean()):.2g}"
        law = "signal and distractor: ∇ log p(y|x) on the upper half is the law with p(b|x)(1 − p(b|x))"
        claims.append(zero_claim(TOPIC, law, name, error, 1e-8))
        if title == "certain":
            lower = place < 1e-12  # the letter is above, so the upper half must not matter
            share = gradient[lower].norm(dim=1) / (bayes.log_norm.exp()[lower] + 1e-300)
            nothing = "signal and distractor: no gradient on a distractor whose place is certain"
            claims.append(zero_claim(TOPIC, nothing, name, float(share.max()), 1e-9))
    return claims


def _leakage(world: World, x: Tensor, y: Tensor) -> Tensor:
    """∇ log p(y|x) on the upper half by the law, from the densities of the halves alone, (N, pixels of a half).

    With b = 0 (signal above) and b = 1 (letter above), p_b = p(b|x):
    Σ_b p_b(1 − p_b) ± [p(y|x, 0) − p(y|x, 1)]/p(y|x) · ∇ log p(up|b) + p(0|x, y)[∇ log p(up|y, 0) − ∇ log p(up|0)],
    since p(b|x, y) − p_b = ± p_0 p_1 [p(y|x, 0) − p(y|x, 1)]/p(y|x), and given the place only the signal knows y.
    """
    half = world.dimension // 2
    up, down = x[:, 0, : world.shape[1] // 2].flatten(1), x[:, 0, world.shape[1] // 2 :].flatten(1)
    upper, lower, classes = slice(0, half), slice(half, None), world.classes
    signal_up, letter_up = [_normal(world, up, c, upper) for c in range(classes)], _normal(world, up, classes, upper)
    signal_down = [_normal(world, down, classes + c, lower)[0] for c in range(classes)]
    letter_down = _normal(world, down, 0, lower)[0]
    of_class = torch.stack([torch.stack([value for value, _ in signal_up]), torch.stack(signal_down)])  # (b, y, N)
    place = torch.stack([of_class[0].logsumexp(0) + letter_down, of_class[1].logsumexp(0) + letter_up[0]]).softmax(0)
    given = of_class.softmax(1)  # p(y | x, b)
    own = given[:, y, torch.arange(len(x))]
    posterior = (place * own).sum(0)
    slopes = torch.stack([slope for _, slope in signal_up])
    mean_slope = (given[0][:, :, None] * slopes).sum(0)
    shift = (place[0] * place[1] * (own[0] - own[1]) / posterior)[:, None]
    sure = (place[0] * own[0] / posterior)[:, None]
    return shift * (mean_slope - letter_up[1]) + sure * (slopes[y, torch.arange(len(x))] - mean_slope)


def _normal(world: World, rows: Tensor, j: int, part: slice) -> tuple[Tensor, Tensor]:
    """log density of component j on a half, (N,), and its gradient, (N, pixels), by a dense covariance."""
    core = world.core
    assert isinstance(core, GaussianCore)
    a = core.mixture.loadings[j, part]
    covariance = a @ a.mT + torch.diag(core.mixture.noise[j, part])
    mean = core.mixture.means[j, part]
    log_prob: Callable[[Tensor], Tensor] = torch.distributions.MultivariateNormal(mean, covariance).log_prob
    return log_prob(rows), -torch.linalg.solve(covariance, (rows - mean).mT).mT
