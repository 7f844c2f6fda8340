"""Every identity of a world, in every world at several noise levels, against dense sums in pixel space."""

from __future__ import annotations

import pytest
import torch

from worlds.world_cases import (
    AT_ZERO,
    EVERYWHERE,
    HAS_DENSITY,
    HAS_POSTERIOR,
    NAMES,
    ONE_SPAN,
    SIGMAS,
    images_case,
    reference_case,
    world_case,
)
from worlds.world_checks import CHECKS

DENSITY = ("densities", "posterior", "scores", "weighted_score", "tweedie", "bayes_direction", "class_scores_average")
NOISY = ("posterior_mean", "jacobian", "local_dimension", "denoiser_difference")


def run(check: str, name: str, sigma: float, n: int = 3) -> None:
    CHECKS[check](world_case(name), reference_case(name), *images_case(name, sigma, n), sigma)


@pytest.mark.parametrize(("name", "sigma"), [*EVERYWHERE, *AT_ZERO])
@pytest.mark.parametrize("check", [*DENSITY, "bayes_gradients_cancel", "finite_differences"])
def test_identity_at_any_noise(check: str, name: str, sigma: float) -> None:
    run(check, name, sigma)


@pytest.mark.parametrize(("name", "sigma"), EVERYWHERE)
@pytest.mark.parametrize("check", NOISY)
def test_identity_of_the_denoiser(check: str, name: str, sigma: float) -> None:
    run(check, name, sigma, n=2)


@pytest.mark.parametrize("sigma", [0.0, *SIGMAS])
@pytest.mark.parametrize("name", ONE_SPAN)
def test_bayes_gradients_lie_in_the_span(name: str, sigma: float) -> None:
    if sigma > 0 or name in HAS_POSTERIOR:
        run("bayes_span", name, sigma)


@pytest.mark.parametrize("name", NAMES)
def test_tangents(name: str) -> None:
    run("tangent_basis", name, 0.1)


# not of "decoder", whose noise is as large as its manifold is curved; tests/worlds/test_decoder.py has thinner ones
@pytest.mark.parametrize("name", [n for n in NAMES if "mixture" not in n and "distractor" not in n and n != "decoder"])
def test_tangents_are_where_the_denoiser_lets_images_move(name: str) -> None:
    run("tangent_is_where_images_move", name, 0.03)


def test_lists_of_worlds_are_true() -> None:
    for name in NAMES:
        undefined = " ".join(world_case(name).undefined)
        assert ("density" not in undefined) == (name in HAS_DENSITY), name
        assert ("posterior" not in undefined) == (name in HAS_POSTERIOR), name


def test_references_agree_with_sampling() -> None:
    """The grid's own moments are those of the images drawn."""
    for name in ("uneven sphere", "torus", "mixture"):
        x = world_case(name).sample(4000, 1).x.flatten(1)
        ref = reference_case(name)
        mean = ref.log_weights.logsumexp(1).exp() @ ref.means
        z = (x.mean(0) - mean) / (x.std(0) / len(x) ** 0.5)
        assert float(z[torch.isfinite(z)].abs().max()) < 4.8, name


@pytest.mark.parametrize("name", ["linear", "circle", "mixture", "thick torus"])
def test_more_images_than_are_handled_at_once(name: str) -> None:
    """Labels stay with their images behind the first 1024."""
    world = world_case(name)
    found = world.sample(1040, 9)
    x, y, last = found.x, found.y, slice(1020, 1040)
    for call in (
        lambda i: world.score(x[i], 0.1, y[i]),
        lambda i: world.denoise(x[i], 0.1, y[i]),
        lambda i: world.bayes_direction(x[i], y[i], 0.1).direction,
        lambda i: world.bayes_direction(x[i], y[i], 0.1).log_norm,
        lambda i: world.log_density_given(x[i], 0.1, y[i]),
        lambda i: world.local_dimension(x[i], 0.1),
        lambda i: world.tangent_basis(x[i])[0],
    ):
        torch.testing.assert_close(call(slice(None))[last], call(last))
