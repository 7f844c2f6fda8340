"""Theorem 1: relative off-manifold robustness ρ₂ tends to the misalignment ρ₁ as the noise vanishes, and how fast."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.measures import MeasureConfig, measure
from tangency.seeding import Draw
from tangency.tangents import WorldTangents
from tangency.theory.claims import Claim, ratio_claim, slope
from tangency.worlds import World, drawn, make_world

TOPIC = "theorem 1"
WORLD = "sphere?shape=1x8x8&rank=5"
_DRAWS = 100_000
_SCORE = (("logp_y", "score"),)


class Quadratic(nn.Module):
    """f_c(x) = g_c·(x − x̄) + ½ (x − x̄)ᵀ H_c (x − x̄), one output for each c.

    Args:
        linear: (classes, d), g_c.
        curved: (classes, d, d), H_c, symmetric.
        centre: (d,), x̄.
    """

    def __init__(self, linear: Tensor, curved: Tensor, centre: Tensor) -> None:
        super().__init__()
        self.linear, self.curved, self.centre = linear, curved, centre

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        rows = x.flatten(1) - self.centre
        outputs: Tensor = rows @ self.linear.mT + 0.5 * torch.einsum("ni,cij,nj->nc", rows, self.curved, rows)
        return outputs


def quadratic(d: int, classes: int, seed: int, bend: float = 1.0) -> Quadratic:
    """Random gradients of length about one, and curvatures."""
    draw = Draw(seed, torch.arange(classes), "quadratic")
    curved = bend * draw.of("H").normal((d, d), torch.float64) / d
    return Quadratic(
        draw.of("g").normal((d,), torch.float64) / d**0.5,
        curved + curved.mT,
        torch.full((d,), 0.5, dtype=torch.float64),
    )


def rho_of_quadratic(g: Tensor, h: Tensor, off: Tensor, sigma: float) -> float:
    """ρ₂(σ) of f = g·v + ½vᵀHv at v = 0 for noise N(0, σ²I), in closed form, off = I − P.

    E f² = σ²‖g‖² + ¼σ⁴[(tr H)² + 2‖H‖_F²], and the same with off·g and off·H·off in the numerator; several outputs are
    summed.
    """

    def energy(g: Tensor, h: Tensor) -> Tensor:
        trace = h.diagonal(dim1=-2, dim2=-1).sum(-1)
        return sigma**2 * g.square().sum() + 0.25 * sigma**4 * (trace.square() + 2 * h.square().sum((-2, -1))).sum()

    return float(energy(g @ off, off @ h @ off) / energy(g, h))


def theorem1(seed: int = 0) -> list[Claim]:
    """All claims about ρ₁ and ρ₂."""
    world = make_world(WORLD)
    x = world.sample(1, seed).x
    basis = world.tangent_basis(x)[0][0]
    off = torch.eye(world.dimension, dtype=torch.float64) - basis @ basis.mT
    f = quadratic(world.dimension, 3, seed)
    f.centre = x.flatten()
    return [
        *_rate(f, off, world),
        *_measured(f, off, world, seed),
        _by_measure(world, seed),
        _coloured(f.linear[:1], off, world, seed),
    ]


def _rate(f: Quadratic, off: Tensor, world: World) -> list[Claim]:
    """ρ₂ − ρ₁ = O(σ²), and the limit is a Frobenius ratio for several outputs, not any one output's."""
    limit = float((f.linear @ off).square().sum() / f.linear.square().sum())
    sigmas = [0.02, 0.04, 0.08, 0.16]
    rate = slope(sigmas, [abs(rho_of_quadratic(f.linear, f.curved, off, s) - limit) for s in sigmas])
    name, tiny = world.name, rho_of_quadratic(f.linear, f.curved, off, 1e-6)
    return [
        Claim(TOPIC, "ρ₂(σ) − ρ₁ falls as σ² for a quadratic: slope in logarithms", name, 2.0, rate, 0.05),
        Claim(TOPIC, "ρ₂(σ → 0) = ‖J(I − P)‖_F²/‖J‖_F² for several outputs", name, limit, tiny, 1e-9),
    ]


def _measured(f: Quadratic, off: Tensor, world: World, seed: int) -> list[Claim]:
    """Monte Carlo of the definition against the closed form, noise by noise."""
    claims = []
    for sigma in (0.05, 0.5):
        u = sigma * Draw(seed, torch.arange(_DRAWS), f"theorem 1 at {sigma}").normal((world.dimension,), torch.float64)
        change = [f((f.centre + v).reshape(-1, *world.shape)).square().sum(1) for v in (u @ off, u)]
        closed = rho_of_quadratic(f.linear, f.curved, off, sigma)
        title = f"ρ₂(σ = {sigma}) of a quadratic, closed form against its definition"
        claims.append(ratio_claim(TOPIC, title, world.name, closed, *change))
    return claims


def _by_measure(world: World, seed: int) -> Claim:
    """What `tangency.measure` calls rho tends to 1 − its tangent fraction of the Jacobian, over images of the world."""
    data = drawn(world, 512, seed)
    x = data.pixels.double()
    first = Draw(seed, torch.arange(world.dimension), "weights").normal((8,), torch.float64).mT / world.dimension**0.5
    second = Draw(seed, torch.arange(8), "weights").normal((world.classes,), torch.float64).mT
    model = nn.Sequential(nn.Flatten(), _Weights(first), nn.Tanh(), _Weights(second))
    config = MeasureConfig(
        sigmas=(0.1,), rho_sigmas=(0.001,), epsilons=(1.0,), directions=8, metrics=("cosine",), alignments=_SCORE
    )
    tangents = WorldTangents(world)
    rows = measure(model, x, data.labels, train_data=data, score=world, tangents=tangents, config=config)
    hidden = torch.tanh((x.flatten(1)) @ first.mT)
    jacobian = torch.einsum("ch,nh,hd->ncd", second, 1 - hidden.square(), first)
    inside = torch.einsum("ncd,ndk->nck", jacobian, tangents.at(x).basis).square().sum((1, 2))
    whole = jacobian.square().sum((1, 2))
    expected = float((whole - inside).sum() / whole.sum())
    title = "the measure rho at σ = 0.001 is ‖J(I − P)‖_F²/‖J‖_F² of a network, pooled over images"
    above, below = (rows[f"rho_{part}.logits.sigma=0.001"] for part in ("off", "all"))
    return ratio_claim(TOPIC, title, world.name, expected, above, below)


class _Weights(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.mT


def _coloured(g: Tensor, off: Tensor, world: World, seed: int) -> Claim:
    """For noise N(0, σ²Σ): ρ₂ → g'(I − P)Σ(I − P)g / g'Σg."""
    d = world.dimension
    root = torch.eye(d, dtype=torch.float64) + 0.3 * Draw(seed, torch.arange(d), "colour").normal((d,), torch.float64)
    covariance = root @ root.mT
    expected = float((g @ off @ covariance @ off @ g.mT) / (g @ covariance @ g.mT))
    u = Draw(seed, torch.arange(_DRAWS), "coloured noise").normal((d,), torch.float64) @ root.mT
    above, below = ((v @ g.mT).square().sum(1) for v in (u @ off, u))
    return ratio_claim(TOPIC, "coloured noise: ρ₂ → gᵀ(I−P)Σ(I−P)g / gᵀΣg", world.name, expected, above, below)
