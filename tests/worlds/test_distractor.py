"""Signal and distractor: what leaks onto the half that says nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tangency.numerics import norms
from tangency.worlds import (
    World,
    drawn,
    letter,
    make_world,
    place_posterior,
    signal_mask,
)
from worlds.world_averages import noisy, none_far
from worlds.world_cases import world_case
from worlds.world_reference import gradient

OPEN = ("faint distractor", "distractor")


class Halves:
    """The densities of signal and distractor, each on its own half, from the parameters of the world."""

    def __init__(self, world: World, sigma: float) -> None:
        channels, height, width = world.shape
        upper = torch.zeros(world.shape, dtype=torch.bool)
        upper[:, : height // 2] = True
        self.upper, self.classes = upper.flatten(), world.classes
        mixture = world.core.mixture
        noise = mixture.noise[0, 0] + sigma**2

        def block(component: int, half: Tensor) -> tuple[Tensor, Tensor]:
            a = mixture.loadings[component][half]
            return mixture.means[component][half], a @ a.T + noise * torch.eye(len(a), dtype=torch.float64)

        self.signals = [block(c, self.upper) for c in range(self.classes)]
        self.rest = block(0, ~self.upper)

    def log_signal(self, s: Tensor, y: int | None = None) -> Tensor:
        each = torch.stack([gaussian(s, *block) for block in self.signals])
        return each.logsumexp(0) - math.log(self.classes) if y is None else each[y]

    def log_rest(self, t: Tensor) -> Tensor:
        return gaussian(t, *self.rest)

    def place(self, top: Tensor, bottom: Tensor, y: int | None = None) -> Tensor:
        """p(signal in the upper half | x), or given y too."""
        above = self.log_signal(top, y) + self.log_rest(bottom)
        below = self.log_rest(top) + self.log_signal(bottom, y)
        return torch.sigmoid(above - below)


def gaussian(x: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    away = x - mean
    log_det = torch.linalg.slogdet(2 * math.pi * covariance).logabsdet
    return -0.5 * (away @ torch.linalg.solve(covariance, away) + log_det)


def law_of_the_upper_half(halves: Halves, row: Tensor, y: int) -> Tensor:
    """[p(0|x,y) s_S(top|y) + p(1|x,y) s_T(top)] − [p(0|x) s_S(top) + p(1|x) s_T(top)]."""
    top, bottom = row[halves.upper], row[~halves.upper]
    plain = gradient(halves.log_rest, top)

    def mixed(label: int | None) -> Tensor:
        place = halves.place(top, bottom, label)
        return place * gradient(lambda s: halves.log_signal(s, label), top) + (1 - place) * plain

    return mixed(y) - mixed(None)


def true_gradient(world: World, x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """∇ log p(y | x), (N, C, H, W)."""
    found = world.bayes_direction(x, y, sigma)
    return found.direction * (found.log_norm.exp() / norms(found.direction))[:, None, None, None]


def split(world: World, values: Tensor, component: Tensor) -> tuple[Tensor, Tensor]:
    """Norm on the half that holds the class, and on the other, (N,) each."""
    signal = signal_mask(world, component)[:, None]
    return norms(values * signal), norms(values * ~signal)


@pytest.mark.parametrize("sigma", [0.0, 0.03, 0.1, 0.5])
@pytest.mark.parametrize("name", [*OPEN, "clear distractor"])
def test_gradient_on_a_half_follows_the_law_of_the_place(name: str, sigma: float) -> None:
    world = world_case(name)
    halves, x = Halves(world, sigma), noisy(world, sigma, 4)[1]
    y = (world.sample(4, 21).y + torch.arange(4)) % world.classes
    found = true_gradient(world, x, y, sigma).flatten(1)
    for row, label, value, place in zip(x.flatten(1), y.tolist(), found, place_posterior(world, x, sigma), strict=True):
        expected = law_of_the_upper_half(halves, row, label)
        assert float((value[halves.upper] - expected).abs().max()) < 1e-10 * max(1.0, float(value.abs().max()))
        exact = halves.place(row[halves.upper], row[~halves.upper])
        torch.testing.assert_close(place, exact, rtol=1e-9, atol=1e-12)


def test_nothing_leaks_where_the_place_is_clear() -> None:
    world = world_case("clear distractor")
    found = world.sample(60, 0)
    place = place_posterior(world, found.x, 0.01)
    assert float(torch.minimum(place, 1 - place).max()) < 1e-15
    signal, rest = split(world, world.bayes_direction(found.x, found.y, 0.01).direction, found.component)
    assert float((rest / signal).max()) < 1e-12
    upper = world.core.placement[found.component] == 0
    assert torch.equal(place > 0.5, upper)


def test_what_leaks_grows_with_the_doubt_about_the_place() -> None:
    world = make_world("distractor?shape=1x8x5&rank=2&classes=2&mark=0.02&noise=0.01")
    found = world.sample(600, 0)
    x = noisy(world, 0.2, 600, seed=0)[1]
    place = place_posterior(world, x, 0.2)
    doubt = place * (1 - place)
    signal, rest = split(world, true_gradient(world, x, found.y, 0.2), found.component)
    share = rest / (rest + signal)
    assert float(share[doubt > 0.2].mean()) > 0.15
    low = doubt < torch.quantile(doubt, 0.2)
    assert float(share[low].mean()) < 0.5 * float(share[~low].mean())


def test_fainter_marks_leave_the_place_more_open() -> None:
    doubts = []
    for mark in (0.02, 0.1, 0.3, 1.0):
        world = make_world(f"distractor?shape=1x8x5&rank=2&classes=2&mark={mark}&noise=0.01")
        place = place_posterior(world, noisy(world, 0.1, 500)[1], 0.1)
        doubts.append(float((place * (1 - place)).mean()))
    assert doubts == sorted(doubts, reverse=True)
    assert doubts[0] > 3 * doubts[2]


def test_halves_change_places_at_random_and_masks_say_where() -> None:
    world = world_case("distractor")
    found = world.sample(2000, 3)
    mask = signal_mask(world, found.component)
    assert mask.shape == (2000, 8, 5)
    upper = mask[:, 0, 0]
    none_far("place", upper[:, None].double() - 0.5)
    assert torch.equal(
        mask, torch.cat([upper[:, None].expand(-1, 4), ~upper[:, None].expand(-1, 4)], 1)[..., None].expand(-1, -1, 5)
    )
    flipped = torch.cat([found.x[:, :, 4:], found.x[:, :, :4]], 2)
    signal = torch.where(upper[:, None, None, None], found.x, flipped)
    none_far("the letter's mean", signal[:, 0, 4:] - 0.5 - 0.3 * letter(4, 5).double())


def test_the_mask_of_drawn_images_is_that_of_their_components() -> None:
    world = world_case("faint distractor")
    images = drawn(world, 50, seed=4)
    assert torch.equal(images.signal, signal_mask(world, world.sample(50, 4).component))
    assert drawn(world_case("linear"), 5).signal is None
    assert signal_mask(world_case("sphere"), torch.zeros(3, dtype=torch.int64)) is None
