"""What holds in any world: dimensions 2 to 64, any rank and number of classes, σ from 1e-3 to 1."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tangency.mixtures.weights import given as given_class
from tangency.mixtures.weights import log_rest, marginal, odds
from tangency.numerics import cosine, norms
from tangency.worlds import World, make_world
from worlds.world_averages import noisy
from worlds.world_checks import CHECKS

FLAT = ("linear", "offset", "rotated", "distractor")
SIGMA = st.floats(math.log(1e-3), 0).map(math.exp)


SHAPES = [(c, h, w) for c in (1, 3) for h in range(1, 9) for w in range(1, 9) if 2 <= c * h * w <= 64]


def coordinates(family: str, rank: int, classes: int) -> int:
    """How many pixel patterns a world needs; there must be more pixels."""
    more = {"offset": classes, "sphere": 1, "torus": rank, "rotated": rank * classes, "distractor": rank + 4}
    return rank + more.get(family, 0)


@st.composite
def worlds(draw: st.DrawFn, families: tuple[str, ...] = (*FLAT, "sphere", "torus")) -> World:
    """A world of any kind and size."""
    family, classes = draw(st.sampled_from(families)), draw(st.integers(2, 4))
    rank = draw(st.integers(1, max(r for r in range(1, 64) if coordinates(family, r, classes) < 64)))
    least = coordinates(family, rank, classes)
    even = 2 if family == "distractor" else 1
    shapes = [(c, h, w) for c, h, w in SHAPES if least < c * h * w and h % even == 0]
    options = {"shape": "x".join(map(str, draw(st.sampled_from(shapes)))), "rank": rank, "classes": classes}
    options["seed"] = draw(st.integers(0, 99))
    if family in ("linear", "sphere", "torus"):
        options["components"] = draw(st.integers(1, 3))
    if family != "distractor":
        options["noise"] = draw(st.sampled_from([0.0, 1e-4, 0.01]))
        options["embedding"] = draw(st.sampled_from(["smooth", "orthogonal"]))
    if family in ("sphere", "torus"):
        options["concentration"] = draw(st.sampled_from([0.0, 1.0, 30.0]))
    return make_world(f"{family}?" + "&".join(f"{key}={value}" for key, value in options.items()))


def images(world: World, sigma: float, n: int = 3) -> tuple[Tensor, Tensor]:
    return noisy(world, sigma, n)[1], (world.sample(n, 21).y + torch.arange(n)) % world.classes


@given(worlds(), SIGMA)
def test_score_is_the_derivative_of_the_density(world: World, sigma: float) -> None:
    x, y = images(world, sigma)
    x.requires_grad_(True)
    for label in (None, y):
        density = world.log_density(x, sigma) if label is None else world.log_density_given(x, sigma, label)
        (expected,) = torch.autograd.grad(density.sum(), x)
        found = world.score(x.detach(), sigma, label)
        assert float((found - expected).abs().max()) < 1e-8 * max(1.0, float(expected.abs().max()))


@given(worlds(), SIGMA)
def test_identities_that_need_no_reference(world: World, sigma: float) -> None:
    x, y = images(world, sigma)
    CHECKS["class_scores_average"](world, None, x, y, sigma)
    if sigma > 0.03:  # below, the difference of denoisers over σ² cancels
        CHECKS["denoiser_difference"](world, None, x, y, sigma)
    posterior = world.log_posterior(x, sigma)
    torch.testing.assert_close(posterior.exp().sum(1), torch.ones(3, dtype=torch.float64))
    joint = world.log_class_joint(x, sigma).log_softmax(1)
    assert float((posterior - joint).abs().max()) < 1e-7 * max(1.0, float(joint.abs().max()))


@given(st.integers(1, 6), st.integers(2, 7), st.floats(0.01, 300), st.integers(0, 10**6))
def test_weights_of_the_classes(n: int, classes: int, spread: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    joint = spread * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    y = torch.randint(0, classes, (n,), generator=generator)
    whole, p = slice(0, n), joint.softmax(1)
    own = torch.nn.functional.one_hot(y, classes).double()
    torch.testing.assert_close(marginal(joint, whole), p)
    assert torch.equal(given_class(y)(joint, whole), own)
    found = odds(y)(joint, whole)
    assert float(found.sum(1).abs().max()) < 1e-12
    rest = (p * (1 - own)).sum(1)  # 1 − p_y without cancelling
    torch.testing.assert_close(rest[:, None] * found, rest[:, None] * own - (1 - own) * p, rtol=1e-9, atol=1e-300)
    torch.testing.assert_close(log_rest(joint, y).exp(), rest, rtol=1e-9, atol=1e-300)
    for i in range(n):
        assert torch.equal(odds(y)(joint[i : i + 1], slice(i, i + 1))[0], found[i])


@given(worlds(FLAT), SIGMA)
def test_bayes_gradients_lie_in_the_span(world: World, sigma: float) -> None:
    x, y = images(world, sigma)
    rows, basis = world.bayes_direction(x, y, sigma).direction.flatten(1), world.bayes_span()
    score = norms(world.score(x, sigma, y))  # where it is far larger, the difference of two such is rounded
    torch.testing.assert_close(basis.mT @ basis, torch.eye(basis.shape[1], dtype=torch.float64))
    assert bool((norms(rows - rows @ basis @ basis.mT) < 1e-12 * norms(rows) + 1e-13 * score).all())


@given(worlds())
def test_tangents_and_normals_are_a_basis(world: World) -> None:
    CHECKS["tangent_basis"](world, None, *images(world, 0.1), 0.1)


@given(worlds(), SIGMA)
def test_local_dimension_is_between_none_and_all(world: World, sigma: float) -> None:
    found = world.local_dimension(world.sample(4, 5).x, sigma)
    assert bool((found > 0).all())
    assert bool((world.mean_square(noisy(world, sigma, 4)[1], sigma) > 0).all())


@settings(max_examples=20)
@given(worlds(), SIGMA)
def test_an_image_alone_equals_its_row(world: World, sigma: float) -> None:
    x, y = images(world, sigma, 4)
    together = {
        "density": world.log_density(x, sigma),
        "posterior": world.log_posterior(x, sigma),
        "denoised": world.denoise(x, sigma, y),
        "direction": world.bayes_direction(x, y, sigma).direction * sigma**2,
        "square": world.local_dimension(x, sigma),
        "tangents": world.tangent_basis(x)[0],
    }
    for i in range(4):
        one, label = x[i : i + 1], y[i : i + 1]
        alone = {
            "density": world.log_density(one, sigma),
            "posterior": world.log_posterior(one, sigma),
            "denoised": world.denoise(one, sigma, label),
            "direction": world.bayes_direction(one, label, sigma).direction * sigma**2,
            "square": world.local_dimension(one, sigma),
            "tangents": world.tangent_basis(one)[0],
        }
        for name, value in alone.items():
            torch.testing.assert_close(value[0], together[name][i], rtol=1e-8, atol=1e-8, msg=name)


@given(worlds(), st.floats(math.log(0.02), 0).map(math.exp))
def test_float32_and_float64_agree(world: World, sigma: float) -> None:
    x, y = images(world, sigma)
    single = x.float()
    same = single.double()  # the image that float32 holds
    for found, exact in (
        (world.denoise(single, sigma, y), world.denoise(same, sigma, y)),
        (world.score(single, sigma), world.score(same, sigma)),
        (world.bayes_direction(single, y, sigma).direction, world.bayes_direction(same, y, sigma).direction),
        (world.tangent_basis(single)[0], world.tangent_basis(same)[0]),
    ):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6 * max(1, float(exact.abs().max())))
    assert world.log_density(single, sigma).dtype == torch.float64
    assert float(cosine(world.denoise(single, sigma).double(), world.denoise(x, sigma)).min()) > 1 - 1e-6
