"""Spheres beyond what a grid can reach: closed forms at fifty digits, and averages over draws."""

from __future__ import annotations

import mpmath
import pytest
import torch
from torch import Tensor

from tangency.worlds import World, make_world
from worlds.world_averages import noisy
from worlds.world_checks import Z

CASES = [
    ("sphere?rank=9&classes=2&shape=1x4x4", (1e-4, 0.03, 0.5)),
    ("sphere?rank=31&classes=2&concentration=200&noise=1e-4&shape=3x4x4", (0.0, 1e-3, 0.5)),
    ("torus?rank=6&classes=2&shape=1x4x5", (1e-4, 0.03, 0.5)),
    ("sphere?rank=1&classes=2&concentration=1e5&shape=1x2x2", (1e-6, 0.03)),
    ("sphere?rank=511&classes=2&concentration=900&shape=1x23x23", (1e-3, 0.1)),
]
PAIRS = [(reference, sigma) for reference, sigmas in CASES for sigma in sigmas]


@pytest.fixture(autouse=True)
def _fifty_digits():
    with mpmath.workdps(50):
        yield


def log_normaliser(b: int, r: mpmath.mpf) -> mpmath.mpf:
    """ln of the integral of e^(v·z) over the unit sphere of R^b, r = ‖v‖."""
    if r == 0:
        return mpmath.log(2 * mpmath.pi ** (mpmath.mpf(b) / 2) / mpmath.gamma(mpmath.mpf(b) / 2))
    order = mpmath.mpf(b) / 2 - 1
    bessel = mpmath.log(mpmath.besseli(order, r))
    return bessel - order * mpmath.log(r) + mpmath.mpf(b) / 2 * mpmath.log(2 * mpmath.pi)


class Exact:
    """log p_σ(x, c) of one image at fifty digits, in the coordinates Uᵀ(x − offset) and what is left over."""

    def __init__(self, world: World, x: Tensor, sigma: float) -> None:
        placed, core = world.embedding, world.core
        self.world, (_, self.m, self.b) = world, core.means.shape
        away = (x.flatten() - placed.offset).tolist()
        basis = [[mpmath.mpf(v) for v in row] for row in placed.basis.T.tolist()]
        self.z = [mpmath.fsum(u * a for u, a in zip(row, away, strict=True)) for row in basis]
        columns = zip(*basis, strict=True)
        left = [
            a - mpmath.fsum(u * v for u, v in zip(c, self.z, strict=True)) for a, c in zip(away, columns, strict=True)
        ]
        self.left = mpmath.fsum(v**2 for v in left)
        self.delta = mpmath.mpf(placed.noise) + mpmath.mpf(sigma) ** 2
        self.scale = mpmath.mpf(placed.scale)

    def log_joint(self, z: list[mpmath.mpf]) -> list[mpmath.mpf]:
        core, d = self.world.core, self.world.dimension
        square = self.left + mpmath.fsum(v**2 for v in z) + self.m * self.scale**2
        common = -square / (2 * self.delta) - mpmath.mpf(d) / 2 * mpmath.log(2 * mpmath.pi * self.delta)
        total = [mpmath.mpf(0)] * core.classes
        for k, own in enumerate(core.component_class.tolist()):
            log_p = common + mpmath.mpf(float(core.log_weights[k]))
            for i in range(self.m):
                kappa = mpmath.mpf(float(core.kappa[k, i]))
                pull = [self.scale * v / self.delta for v in z[i * self.b : (i + 1) * self.b]]
                v = [kappa * mu + p for mu, p in zip(core.means[k, i].tolist(), pull, strict=True)]
                log_p += log_normaliser(self.b, mpmath.sqrt(mpmath.fsum(a**2 for a in v)))
                log_p -= log_normaliser(self.b, kappa)
            total[own] += mpmath.exp(log_p)
        return [mpmath.log(value) for value in total]

    def slope(self, values, axis: int) -> mpmath.mpf:
        """Central difference with a step of 1e-16."""
        step = mpmath.mpf(10) ** -16
        up, down = ([v + s * (i == axis) for i, v in enumerate(self.z)] for s in (step, -step))
        return (values(up) - values(down)) / (2 * step)


@pytest.mark.parametrize(("reference", "sigma"), PAIRS)
def test_densities_to_twelve_digits(reference: str, sigma: float) -> None:
    world = make_world(reference)
    x = noisy(world, sigma, 1)[1]
    for row, joint, posterior in zip(x, world.log_class_joint(x, sigma), world.log_posterior(x, sigma), strict=True):
        exact = Exact(world, row, sigma)
        expected = exact.log_joint(exact.z)
        for found, true in zip(joint.tolist(), expected, strict=True):
            assert abs(found - true) < 1e-11 * max(1, abs(true))
        total = mpmath.log(mpmath.fsum(mpmath.exp(v) for v in expected))
        for found, true in zip(posterior.tolist(), expected, strict=True):
            assert abs(found - (true - total)) < 1e-9 * max(1, abs(true - total))


@pytest.mark.parametrize(("reference", "sigma"), [pair for pair in PAIRS if "511" not in pair[0]])
def test_bayes_directions_to_eight_digits(reference: str, sigma: float) -> None:
    """Of two classes: the gradient of log p(x, 0) − log p(x, 1)."""
    world = make_world(reference)
    x = noisy(world, sigma, 1)[1]
    found = (
        world.bayes_direction(x, torch.zeros(1, dtype=torch.int64), sigma).direction.flatten() @ world.embedding.basis
    )
    exact = Exact(world, x[0], sigma)

    def odds(z: list[mpmath.mpf]) -> mpmath.mpf:
        joint = exact.log_joint(z)
        return joint[0] - joint[1]

    expected = torch.tensor([float(exact.slope(odds, i)) for i in range(len(exact.z))], dtype=torch.float64)
    assert float((found - expected).norm() / expected.norm()) < 1e-8


@pytest.mark.parametrize(("reference", "sigma"), [("torus", 1.0), ("sphere", 1.0), ("sphere?noise=0.002", 2.0)])
def test_posterior_means_are_weighted_averages_of_draws(reference: str, sigma: float) -> None:
    """E[x₀ | x] ≈ Σ w x₀/Σ w, w = N(x; x₀, σ²): a z-test of the ratio in every coordinate of the manifold."""
    world, n = make_world(reference), 8000
    x = noisy(world, sigma, 2, seed=77)[1]
    draws = world.sample(n, 5)
    basis = world.embedding.basis
    points = draws.x.flatten(1)
    for row, mean, given in zip(x, world.denoise(x, sigma), world.denoise(x, sigma, draws.y[:2] * 0 + 1), strict=True):
        log_w = -(row.flatten() - points).square().sum(1) / (2 * sigma**2)
        for label, denoised in ((None, mean), (1, given)):
            own = torch.ones(n, dtype=torch.bool) if label is None else draws.y == label
            weights = (log_w[own]).softmax(0)
            assert 1 / float(weights.square().sum()) > 200  # effective draws
            gap = (points[own] - denoised.flatten()) @ basis
            error = (weights.square() @ gap.square()).sqrt()
            assert float((weights @ gap / error).abs().max()) < Z
