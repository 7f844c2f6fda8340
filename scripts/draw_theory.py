"""Draw the figures of docs/theory.md, from closed forms and a little sampling: docs/images/theory-*.png."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import Tensor

from tangency.numerics import flat
from tangency.report.draw.canvas import COLOURS, STYLE
from tangency.seeding import Draw
from tangency.tangents import TangentSpace
from tangency.theory.theorem1 import quadratic, rho_of_quadratic
from tangency.theory.theorem2 import fractions
from tangency.worlds import make_world, place_posterior

OUT = Path(__file__).parent.parent / "docs" / "images"
WORLDS = (
    ("linear", "W1 linear"),
    ("sphere", "W4 sphere"),
    ("torus", "W5 torus"),
    ("fitted", "W3 fitted"),
    ("rotated", "W2 rotated"),
    ("offset", "W2 offset"),
    ("distractor", "W7 distractor"),
)


def new_figure(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Any, np.ndarray]:
    """A figure with a grid of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def gallery() -> Any:
    """Two images of each world, and under each the gradient of its Bayes rule."""
    figure, axes = new_figure(2, 2 * len(WORLDS), 9.0, 2.0)
    for place, (reference, title) in enumerate(WORLDS):
        world = make_world(reference)
        sample = world.sample(2, 1)
        sigma = 0.05
        gradient = world.bayes_direction(sample.x, sample.y, sigma).direction
        for i in range(2):
            upper, lower = axes[0, 2 * place + i], axes[1, 2 * place + i]
            limits = (0.0, 1.0) if reference in ("fitted", "distractor") else (0.2, 0.8)
            upper.imshow(sample.x[i, 0], cmap="gray", vmin=limits[0], vmax=limits[1])
            scale = float(gradient[i].abs().quantile(0.995))
            lower.imshow(gradient[i, 0] / scale, cmap="RdBu_r", vmin=-1, vmax=1)
            for at in (upper, lower):
                at.set_axis_off()
            if i == 0:
                upper.set_title(title, fontsize=7, loc="left")
    return figure


def theorem1() -> Any:
    """ρ₂(σ) of quadratics against its limit, and the distance from it."""
    world = make_world("sphere?shape=1x8x8&rank=5")
    x = world.sample(1, 0).x
    basis = world.tangent_basis(x)[0][0]
    off = torch.eye(world.dimension, dtype=torch.float64) - basis @ basis.mT
    figure, axes = new_figure(1, 2, 6.75, 2.4)
    sigmas = np.logspace(-2, 1, 40)
    for colour, bend in zip(COLOURS, (0.3, 1.0, 3.0), strict=False):
        f = quadratic(world.dimension, 3, 0, bend)
        limit = float((f.linear @ off).square().sum() / f.linear.square().sum())
        closed = np.array([rho_of_quadratic(f.linear, f.curved, off, s) for s in sigmas])
        axes[0, 0].semilogx(sigmas, closed, color=colour, label=f"curvature × {bend:g}")
        axes[0, 1].loglog(sigmas, np.abs(closed - limit), color=colour)
        measured = []
        for sigma in sigmas[::6]:
            u = sigma * Draw(0, torch.arange(20_000), f"draw {sigma}").normal((world.dimension,), torch.float64)
            change = [f((f.centre + v).reshape(-1, *world.shape)).square().sum() for v in (u @ off, u)]
            measured.append(float(change[0] / change[1]))
        axes[0, 0].semilogx(sigmas[::6], measured, "o", color=colour, markersize=3)
    axes[0, 0].axhline(limit, color="#1d2327", linestyle=":", linewidth=0.8)
    axes[0, 0].set(xlabel="σ of the noise", ylabel="ρ₂(σ)")
    axes[0, 0].legend()
    axes[0, 1].loglog(sigmas, 0.02 * sigmas**2, color="#7c858d", linestyle="--", label="slope 2")
    axes[0, 1].set(xlabel="σ of the noise", ylabel="|ρ₂(σ) − ρ₁|", ylim=(1e-8, 1))
    axes[0, 1].legend()
    return figure


def chance() -> Any:
    """F² of random directions against its null, and two ways to average κ."""
    from scipy.stats import beta

    d, n = 64, 20_000
    figure, axes = new_figure(1, 2, 6.75, 2.2)
    world = make_world("linear?shape=1x8x8&rank=6")
    basis = world.tangent_basis(world.sample(1, 0).x)[0]
    noise = Draw(0, torch.arange(n), "chance").normal(world.shape, torch.float64)
    fraction = TangentSpace(basis.expand(n, -1, -1), torch.full((n,), 6)).fraction(noise).numpy()
    axes[0, 0].hist(fraction, 60, density=True, color="#9fc3e0")
    grid = np.linspace(0, 0.4, 300)
    axes[0, 0].plot(grid, beta(3, 29).pdf(grid), color="#1d2327")
    axes[0, 0].axvline(6 / d, color="#1d2327", linestyle=":", linewidth=0.8)
    axes[0, 0].set(xlabel="F² of a random direction, k = 6, d = 64", ylabel="density")
    ranks = np.arange(3, 25)
    pooled, mean = [], []
    for k in ranks:
        f = beta(k / 2, (d - k) / 2).rvs(20_000, random_state=int(k))
        pooled.append((1 - f).sum() / (d - k) / (f.sum() / k))
        mean.append(((1 - f) / f * k / (d - k)).mean())
    axes[0, 1].plot(ranks, mean, "o", color=COLOURS[1], label="mean of per-image κ")
    axes[0, 1].plot(ranks, ranks / (ranks - 2), color=COLOURS[1], linewidth=0.8, label="k/(k − 2)")
    axes[0, 1].plot(ranks, pooled, "o", color=COLOURS[0], label="pooled κ")
    axes[0, 1].axhline(1, color="#1d2327", linestyle=":", linewidth=0.8)
    axes[0, 1].set(xlabel="rank k", ylabel="κ of random directions", ylim=(0.8, 3.2))
    axes[0, 1].legend()
    return figure


def theorem2() -> Any:
    """F² of the Bayes gradient against σ in every world, and the length of the gradient."""
    figure, axes = new_figure(1, 2, 6.75, 2.6)
    sigmas = np.logspace(-2.3, -0.2, 18)
    for colour, (reference, title) in zip(COLOURS, WORLDS[:6], strict=False):
        world = make_world(reference)
        sample = world.sample(200, 0)
        share, length = [], []
        for sigma in sigmas:
            noisy = sample.x + sigma * Draw(0, torch.arange(200), "figure").normal(world.shape, torch.float64)
            share.append(float(fractions(world, noisy, sample.y, sigma).mean()))
            length.append(float(world.bayes_direction(noisy, sample.y, sigma).direction.flatten(1).norm(dim=1).mean()))
        axes[0, 0].semilogx(sigmas, share, color=colour, label=title)
        axes[0, 1].loglog(sigmas, length, color=colour)
    axes[0, 0].set(xlabel="σ", ylabel="F² of the Bayes gradient", ylim=(-0.03, 1.05))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    axes[0, 1].set(xlabel="σ", ylabel="‖∇ log-odds‖")
    return figure


def curvature() -> Any:
    """Normal share of the Bayes gradient on a sphere and a torus, and the local dimension against σ."""
    figure, axes = new_figure(1, 2, 6.75, 2.3)
    sigmas = np.logspace(-2.5, -0.2, 20)
    for colour, reference in zip(COLOURS, ("sphere?rank=7", "torus?rank=6", "linear?rank=8&noise=0"), strict=False):
        world = make_world(reference)
        sample = world.sample(200, 0)
        label = reference.partition("&")[0]
        if not reference.startswith("linear"):
            normal = [float((1 - fractions(world, sample.x, sample.y, s)).mean()) ** 0.5 for s in sigmas]
            axes[0, 0].loglog(sigmas, normal, color=colour, label=label)
        dimension = [float(world.local_dimension(sample.x, s).mean()) for s in sigmas]
        axes[0, 1].semilogx(sigmas, dimension, color=colour, label=label)
        axes[0, 1].axhline(world.intrinsic_dimension, color=colour, linestyle=":", linewidth=0.8)
    axes[0, 0].loglog(sigmas, 0.3 * sigmas**2, color="#7c858d", linestyle="--", label="slope 2")
    axes[0, 0].set(xlabel="σ", ylabel="√(1 − F²) of the Bayes gradient")
    axes[0, 0].legend()
    axes[0, 1].set(xlabel="σ", ylabel="E‖x − x₀‖²/σ²")
    axes[0, 1].legend()
    return figure


def distractor() -> Any:
    """Gradient energy on the distractor against how open its place is."""
    figure, axes = new_figure(1, 1, 3.6, 2.4)
    for colour, mark in zip(COLOURS, (0.01, 0.02, 0.04, 0.08), strict=False):
        world = make_world(f"distractor?shape=1x16x8&rank=2&classes=2&noise=0.01&mark={mark}")
        sample = world.sample(600, 0)
        place = place_posterior(world, sample.x, 0.0)
        gradient = world.bayes_direction(sample.x, sample.y, 0.0).direction
        less_likely = torch.where(place > 0.5, _energy(gradient[:, :, 8:]), _energy(gradient[:, :, :8]))
        share = (less_likely / _energy(gradient)).clamp(min=1e-20)
        open_ = (place * (1 - place)).clamp(min=1e-20)
        axes[0, 0].loglog(open_, share, "o", color=colour, markersize=2, label=f"letter × {mark:g}")
    axes[0, 0].set(
        xlabel="p(b|x)(1 − p(b|x))", ylabel="energy on the likely distractor", xlim=(1e-12, 1), ylim=(1e-16, 1)
    )
    axes[0, 0].legend()
    return figure


def _energy(gradient: Tensor) -> Tensor:
    return flat(gradient).square().sum(1)


FIGURES = {
    "worlds": gallery,
    "theorem1": theorem1,
    "chance": chance,
    "theorem2": theorem2,
    "curvature": curvature,
    "distractor": distractor,
}


def main() -> None:
    """Draw all figures."""
    OUT.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            draw().savefig(OUT / f"theory-{name}.png", dpi=160)


if __name__ == "__main__":
    main()
