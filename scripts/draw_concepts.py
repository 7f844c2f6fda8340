"""Draw the figures of docs/concepts: docs/images/concept-*.png, of worlds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn

from tangency.autodiff import input_gradient
from tangency.report.draw.canvas import COLOURS, INK, SOFT, STYLE
from tangency.seeding import Draw
from tangency.tangents import TangentSpace, dct_tangents, pca_tangents
from tangency.worlds import load_dataset, make_world

OUT = Path(__file__).parent.parent / "docs" / "images"
CIRCLE = "sphere?shape=1x1x3&rank=1&classes=3"  # images of three pixels on a circle, which a page can show
REACH = 0.25  # half the width of a panel, in pixel units


class Plane:
    """The plane of the circle: two coordinates for an image of three pixels."""

    def __init__(self) -> None:
        self.world = make_world(CIRCLE)
        sample = self.world.sample(600, 0)
        self.x, self.y = sample.x.double(), sample.y
        self.centre = self.x.flatten(1).mean(0)
        self.axes = torch.linalg.svd(self.x.flatten(1) - self.centre, full_matrices=False)[2][:2]
        at = torch.from_numpy(self.flat(self.x))
        self.centre = self.centre + (at.amin(0) + at.amax(0)) / 2 @ self.axes

    def flat(self, x: Tensor) -> np.ndarray:
        """Images to coordinates, (N, 2)."""
        return ((x.double().flatten(1) - self.centre) @ self.axes.mT).numpy()

    def arrows(self, g: Tensor) -> np.ndarray:
        """Gradients to coordinates, (N, 2)."""
        return (g.double().flatten(1) @ self.axes.mT).detach().numpy()

    def images(self, at: np.ndarray) -> Tensor:
        """Coordinates to images."""
        flat = self.centre + torch.as_tensor(at, dtype=torch.float64) @ self.axes
        return flat.reshape(-1, *self.world.shape)

    def scatter(self, axes: Any, alpha: float = 0.5) -> None:
        """The images, coloured by class."""
        at = self.flat(self.x)
        for label, colour in zip(range(self.world.classes), COLOURS, strict=False):
            own = (self.y == label).numpy()
            axes.scatter(*at[own].T, s=5, color=colour, alpha=alpha, linewidths=0, label=f"class {label}")
        axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xticks=[], yticks=[])

    def around(self, count: int) -> Tensor:
        """Indices of images that lie apart on the circle."""
        angles = np.arctan2(*self.flat(self.x).T)
        wanted = np.linspace(-np.pi, np.pi, count, endpoint=False)
        return torch.as_tensor([int(np.abs(angles - angle).argmin()) for angle in wanted])

    def tangent(self, x: Tensor) -> TangentSpace:
        """The true tangent spaces."""
        return TangentSpace(self.world.tangent_basis(x)[0], torch.ones(len(x), dtype=torch.int64))


def new_figure(columns: int, width: float, height: float) -> tuple[Any, np.ndarray]:
    """A row of panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def arrow(axes: Any, start: np.ndarray, step: np.ndarray, colour: str, words: str = "") -> None:
    """One arrow with its words at its tip."""
    axes.annotate("", start + step, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.4})
    if words:
        axes.text(*(start + 1.15 * step), words, color=colour, fontsize=7, ha="center", va="center")


def manifold() -> Any:
    """Images on a circle, and a step along and off it."""
    plane = Plane()
    figure, (left, right) = new_figure(2, 6.0, 2.9)
    plane.scatter(left)
    left.legend(loc="center", markerscale=2)
    left.set_title("images of three pixels on a circle")
    plane.scatter(right, 0.15)
    x = plane.x[:1]
    at, along = plane.flat(x)[0], plane.arrows(plane.world.tangent_basis(x)[0][0].mT)[0]
    along /= np.linalg.norm(along)
    off = at / np.linalg.norm(at)
    right.axline(at, at + along, color=SOFT, linewidth=0.8, linestyle="--")
    arrow(right, at, 0.1 * along, COLOURS[0], "on")
    arrow(right, at, 0.1 * off, COLOURS[1], "off")
    right.plot(*at, "o", color=INK)
    right.set_title("its tangent space, a step on and off")
    return figure


def score() -> Any:
    """The score of noisy images at two noise levels."""
    plane = Plane()
    figure, panels = new_figure(2, 6.0, 2.9)
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-0.23, 0.23, 12)]), -1).reshape(-1, 2)
    for axes, sigma in zip(panels, (0.05, 0.2), strict=True):
        plane.scatter(axes, 0.15)
        steps = plane.arrows(sigma**2 * plane.world.score(plane.images(grid), sigma))
        axes.quiver(*grid.T, *steps.T, color=INK, angles="xy", scale_units="xy", scale=2, width=0.004)
        axes.set_title(f"σ² ∇ log p(x; σ), σ = {sigma:g}")
    return figure


def least_squares(plane: Plane) -> nn.Module:
    """The linear classifier whose logits are nearest to the classes, one-hot."""
    x = torch.cat([plane.x.flatten(1), torch.ones(len(plane.x), 1, dtype=torch.float64)], 1)
    found = torch.linalg.lstsq(x, nn.functional.one_hot(plane.y).double()).solution
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, plane.world.classes, dtype=torch.float64))
    net[1].weight.data, net[1].bias.data = found[:-1].mT.contiguous(), found[-1]
    return net


def tangent() -> Any:
    """Gradients at images of the circle, each with its tangent and its normal part."""
    plane = Plane()
    figure, panels = new_figure(2, 6.0, 2.9)
    shown = plane.around(14)
    x, y = plane.x[shown], plane.y[shown]
    directions = {
        "Bayes rule": plane.world.bayes_direction(x, y, 0.02).direction,
        "linear classifier": input_gradient(least_squares(plane), x, y, "margin").direction,
    }
    space = plane.tangent(x)
    for axes, (title, g) in zip(panels, directions.items(), strict=True):
        plane.scatter(axes, 0.12)
        at, length = plane.flat(x), np.linalg.norm(plane.arrows(g), axis=1, keepdims=True)
        for part, colour in ((g, INK), (space.project(g), COLOURS[0]), (space.reject(g), COLOURS[1])):
            steps = 0.07 * plane.arrows(part) / length
            axes.quiver(*at.T, *steps.T, color=colour, angles="xy", scale_units="xy", scale=1, width=0.006)
        axes.set_title(f"{title}: mean F² = {space.fraction(g).mean():.2f}")
    return figure


def controls() -> Any:
    """F² of three kinds of direction in the own tangent space and in controls of equal rank."""
    world, train = make_world("fitted?rank=12"), load_dataset("world:fitted?rank=12&train=1000&test=10").train
    sample = world.sample(200, 0)
    basis, rank = world.tangent_basis(sample.x)[0], 12
    own = TangentSpace(basis, torch.full((200,), rank))
    other = TangentSpace(basis.roll(1, 0), torch.full((200,), rank))
    spaces = {
        "own": own,
        "another image's": other,
        "low frequencies": dct_tangents(world.shape, rank).at(sample.x),
        "global PCA": pca_tangents(train, rank).at(sample.x),
    }
    noise = Draw(0, torch.arange(200), "noise").normal(world.shape, torch.float64)
    smooth = nn.functional.avg_pool2d(nn.functional.avg_pool2d(noise, 7, 1, 3), 7, 1, 3)
    bayes = world.bayes_direction(sample.x, sample.y, 0.1).direction
    directions = {"white noise": noise, "smoothed noise": smooth, "Bayes rule": bayes}
    figure, panels = new_figure(1, 5.5, 2.5)
    for place, (label, space) in enumerate(spaces.items()):
        shares = [float(space.fraction(g.double()).mean()) for g in directions.values()]
        panels[0].bar(np.arange(3) + 0.2 * place - 0.3, shares, 0.18, color=COLOURS[place], label=label)
    chance = rank / world.dimension
    panels[0].axhline(chance, color=INK, linestyle=":", linewidth=0.9, label="chance, k/d")
    panels[0].set(xticks=range(3), xticklabels=directions, ylabel="F²", yscale="log")
    panels[0].legend(title="share of energy in a space of rank 12:", ncols=1, loc="upper left", title_fontsize=7)
    return figure


FIGURES = {"manifold": manifold, "score": score, "tangent": tangent, "controls": controls}


def main() -> None:
    """Draw the figures that are named, or all."""
    with matplotlib.rc_context(STYLE):
        for name in sys.argv[1:] or FIGURES:
            FIGURES[name]().savefig(OUT / f"concept-{name}.png", dpi=140)


if __name__ == "__main__":
    main()
