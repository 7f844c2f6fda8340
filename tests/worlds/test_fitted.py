"""Mixtures fitted to the embedded images, taken as the truth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from tangency.data import load
from tangency.errors import NumericsError
from tangency.mixtures import fit_mixture
from tangency.seeding import permutation
from tangency.worlds import World, bayes_risk, load_dataset, make_world
from worlds.world_averages import noisy, none_far
from worlds.world_checks import CHECKS
from worlds.world_reference import reference_of

SMALL = "fitted?components=2&rank=3&images=400"


@cache
def fitted(noise: str = "common") -> World:
    return make_world(f"{SMALL}&noise={noise}")


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Reference of the embedded images at 7×7 pixels, four classes."""
    path = tmp_path_factory.mktemp("shrunk") / "images.npz"
    data = load("fashion-mnist-5k").train
    kept = data.labels < 4
    pixels = torch.nn.functional.avg_pool2d(data.images(kept), 4).squeeze(1).numpy()
    labels = data.labels[kept].numpy()
    np.savez(path, x_train=pixels, y_train=labels, x_test=pixels[:40], y_test=labels[:40])
    return f"npz:{path}"


@pytest.mark.parametrize("sigma", [0.0, 0.03, 0.1, 0.5])
@pytest.mark.parametrize("noise", ["common", "diagonal"])
def test_identities_of_small_images(shrunk: str, noise: str, sigma: float) -> None:
    world = make_world(f"fitted?data={shrunk}&components=2&rank=3&images=400&noise={noise}")
    x, y = noisy(world, sigma, 2)[1], torch.tensor([0, 3])
    needs_noise = ("posterior_mean", "jacobian", "local_dimension", "denoiser_difference")
    needs_manifold = ("bayes_span", "tangent_basis", "tangent_is_where_images_move")
    for name, check in CHECKS.items():
        if name not in needs_manifold and (sigma > 0 or name not in needs_noise):
            check(world, reference_of(world), x, y, sigma)


def test_densities_of_784_pixels() -> None:
    world = make_world("fitted?components=1&rank=3&images=400")
    arguments = (world, reference_of(world), noisy(world, 0.1, 1)[1], torch.tensor([7]), 0.1)
    for name in ("posterior", "bayes_gradients_cancel", "class_scores_average", "finite_differences"):
        CHECKS[name](*arguments)


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5])
def test_one_noise_level_puts_bayes_gradients_into_the_span(sigma: float) -> None:
    world = fitted()
    x, y = noisy(world, sigma, 40)[1], world.sample(40, 21).y
    ranks = world.core.mixture.bases()[1]
    assert world.bayes_span().shape == (784, int(ranks.sum()) + len(ranks) - 1)
    CHECKS["bayes_span"](world, None, x, y, sigma)


@pytest.mark.parametrize("noise", ["diagonal", "isotropic"])
def test_other_noise_has_no_span(noise: str) -> None:
    with pytest.raises(NumericsError, match="no fixed subspace holds its Bayes gradients"):
        fitted(noise).bayes_span()


def test_the_law_is_the_fit() -> None:
    train = load_dataset("fashion-mnist-5k").train
    mixture, _ = fit_mixture(train.subset(permutation(5000, 0, "world")[:400]), 2, 3)
    world, own = fitted("isotropic"), fitted("isotropic").core.mixture
    assert torch.equal(own.means, mixture.means)
    assert torch.equal(own.noise, mixture.noise)
    assert world.class_names == train.classes
    common = fitted().core.mixture
    assert torch.equal(common.means, mixture.means)
    pooled = (mixture.log_weights.exp() * mixture.noise.mean(1)).sum()
    assert common.noise.unique().tolist() == pytest.approx([float(pooled)])


def test_images_of_the_world_are_its_draws() -> None:
    world = fitted()
    found = world.sample(600, 4)
    own = world.core.mixture.means[found.component]
    assert torch.equal(world.core.mixture.component_class[found.component], found.y)
    away = (found.x.flatten(1) - own).mean(1, keepdim=True)
    none_far("mean pixel", away)
    basis, rank = world.tangent_basis(found.x)
    assert torch.equal(rank, world.core.mixture.bases()[1][world.core.component(found.x.flatten(1))])
    assert int(rank.max()) == world.intrinsic_dimension == 3
    nearest = world.core.component(found.x.flatten(1))
    assert float((nearest == found.component).double().mean()) > 0.9


def test_seed_and_number_of_images_change_the_fit() -> None:
    first = fitted().core.mixture.means
    other = make_world(f"{SMALL}&seed=1").core.mixture.means
    fewer = make_world("fitted?components=2&rank=3&images=300").core.mixture.means
    assert not torch.equal(first, other)
    assert first.shape != fewer.shape or not torch.equal(first, fewer)
    assert torch.equal(first, make_world(SMALL).core.mixture.means)


def test_drawn_data_set_has_the_names_of_the_real_classes() -> None:
    data = load_dataset(f"world:{SMALL}&train=20&test=5")
    assert data.train.classes == load_dataset("fashion-mnist-5k").train.classes
    assert data.train.pixels.shape == (20, 1, 28, 28)
    assert 0 <= bayes_risk(fitted(), 0.0, 100).mean < 0.3
