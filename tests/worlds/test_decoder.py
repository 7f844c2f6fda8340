"""The world of a decoder: quadrature, nearest points, tangent spaces, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
from importlib import resources

import pytest
import torch
from torch import Tensor

from tangency.autodiff import pushforward
from tangency.data import load
from tangency.errors import NumericsError
from tangency.numerics import energy_fraction
from tangency.seeding import Draw
from tangency.tensors import read_tensors
from tangency.worlds import DecoderCore, World, make_world, quadrature
from worlds.world_averages import AVERAGES

SMALL = "decoder?size=7&classes=3&noise=0.01"
FILE = resources.files("tangency.worlds") / "weights" / "decoder-fashion-mnist.safetensors"


def noisy(world: World, sigma: float, n: int = 6) -> tuple[Tensor, Tensor]:
    found = world.sample(n, 3)
    noise = Draw(4, torch.arange(n), "noise").normal(world.shape, torch.float64)
    return found.x + sigma * noise, found.y


def anew(world: World) -> World:
    """The same world with no rule laid yet."""
    core = world.core
    assert isinstance(core, DecoderCore)
    return dataclasses.replace(world, core=DecoderCore(core.decoder, core.latent))


def answers(world: World, x: Tensor, sigma: float) -> Tensor:
    joint = world.log_class_joint(x, sigma)
    score = world.score(x, sigma, torch.zeros(len(x), dtype=torch.int64))
    return torch.cat([joint, score.flatten(1), world.mean_square(x, sigma)[:, None]], 1)


def error(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs() / b.abs().clamp(min=1)).max())


@pytest.mark.parametrize("sigma", [0.05, 0.3])
@pytest.mark.parametrize("reference", [SMALL, "decoder?latent=1&size=12&noise=0.001"])
def test_a_finer_rule_changes_nothing_and_a_coarse_one_does(reference, sigma, monkeypatch) -> None:
    world = make_world(reference)
    x, _ = noisy(world, sigma)
    own = answers(anew(world), x, sigma)
    monkeypatch.setattr(quadrature, "_RESOLUTION", 2.0)
    assert error(answers(anew(world), x, sigma), own) < 2e-11
    monkeypatch.setattr(quadrature, "_RESOLUTION", 0.5)
    assert error(answers(anew(world), x, sigma), own) > 1e-9


def test_three_latent_coordinates_are_as_exact_where_noise_is_large(monkeypatch) -> None:
    world = make_world("decoder?latent=3&size=5&classes=2&noise=0.09")
    x, _ = noisy(world, 0.1, 2)
    own = answers(anew(world), x, 0.1)
    monkeypatch.setattr(quadrature, "_RESOLUTION", 1.6)
    assert error(answers(anew(world), x, 0.1), own) < 2e-11
    assert world.tangent_basis(x)[1].tolist() == [3, 3]


def test_cells_that_are_left_out_do_not_matter(monkeypatch) -> None:
    world = make_world(SMALL)
    x, _ = noisy(world, 0.1)
    x = torch.cat([x, torch.full_like(x[:1], 0.5), 3 * x[:1]])  # grey, and far away
    own = answers(anew(world), x, 0.1)
    cells = world.core.rule(0.14).near(world.embedding.encode(x.flatten(1))[0][:6], 0.14)[1].sum(1)
    assert int(cells.max()) < 0.5 * len(world.core.rule(0.14).centres)
    monkeypatch.setattr(quadrature, "_NEGLIGIBLE", 1e9)
    assert error(own, answers(anew(world), x, 0.1)) < 1e-12


@pytest.mark.parametrize("latent", [1, 2])
def test_the_nodes_hold_the_whole_law(latent: int) -> None:
    """Each class's mass is 1/C, and the law's mean is that of many draws."""
    core = make_world(f"decoder?latent={latent}&size=7&noise=0.01").core
    rule = core.rule(0.1)
    mass = (rule.shares * rule.peaks[:, None].exp()).sum((0, 1))
    torch.testing.assert_close(mass, torch.full_like(mass, 0.1), rtol=1e-10, atol=0)
    z, y, component = core.draw(Draw(0, torch.arange(4000), "law"))
    assert torch.equal(y, component // core.latent.means.shape[1])
    mean = torch.einsum("qbc,qbi->i", rule.shares * rule.peaks[:, None].exp(), rule.values)
    assert float(((z.mean(0) - mean) / (z.std(0) / 4000**0.5)).abs().max()) < 4.8
    assert float((torch.bincount(y, minlength=10) - 400).abs().max()) < 4.8 * 400**0.5


def test_derivatives_of_the_decoder_are_those_of_automatic_differentiation() -> None:
    decoder = make_world("decoder?size=6").core.decoder
    u = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value, first, second = decoder.jet(u)

    def one(v: Tensor) -> Tensor:
        return decoder.values(v[None])[0]

    for i in range(5):
        torch.testing.assert_close(value[i], one(u[i]))
        torch.testing.assert_close(first[i], torch.autograd.functional.jacobian(one, u[i]))
        rows = torch.stack([torch.autograd.functional.hessian(lambda v, j=j: one(v)[j], u[i]) for j in range(3)])
        torch.testing.assert_close(second[i, :3], rows)


@pytest.mark.parametrize("latent", [1, 2])
def test_the_nearest_point_is_nearer_than_any_of_a_dense_grid_and_stationary(latent: int) -> None:
    world = make_world(f"decoder?latent={latent}&size=7&noise=0.01")
    core, x = world.core, noisy(world, 0.1, 40)[0]
    z = world.embedding.encode(x.flatten(1))[0]
    u = core.nearest(z)
    value, first, _ = core.decoder.jet(u)
    assert float(torch.einsum("nia,ni->na", first, z - value).abs().max()) < 1e-8
    axis = torch.linspace(-6, 8, 400, dtype=torch.float64)
    dense = core.decoder.values(torch.cartesian_prod(*[axis] * latent).reshape(-1, latent))
    assert bool(((z - value).norm(dim=1) <= torch.cdist(z, dense).amin(1) + 1e-9).all())


def test_the_bayes_gradient_becomes_tangent_as_noise_falls() -> None:
    """Its normal part is due to curvature over the width of the noise, so its length falls as ψ, its energy as ψ²."""
    rest = []
    for noise in (0.004, 0.001):
        world = make_world(f"decoder?size=7&classes=4&noise={noise}")
        found = world.sample(60, 2)
        basis, _ = world.tangent_basis(found.x)
        direction = world.bayes_direction(found.x, found.y, 0.0).direction
        rest.append(1 - energy_fraction(basis, direction))
    assert float(rest[1].median()) < 2e-4
    assert 8 < float(rest[0].median() / rest[1].median()) < 30


def test_the_leading_eigenvector_of_the_denoisers_jacobian_tends_to_the_tangent_space() -> None:
    world = make_world("decoder?latent=1&size=6&noise=0")
    x = world.sample(8, 0).x
    basis, _ = world.tangent_basis(x)
    eye = torch.eye(36, dtype=torch.float64).reshape(1, 36, *world.shape).repeat(8, 1, 1, 1, 1)
    off = []
    for sigma in (0.03, 0.01):
        _, rows = pushforward(lambda z, s=sigma: world.denoise(z, s), x, eye)
        top = torch.linalg.eigh(rows.flatten(2)).eigenvectors[:, :, -1:]
        off.append(float((top - basis @ (basis.mT @ top)).norm(dim=1).median()))
    assert off[1] < 1e-3
    assert 6 < off[0] / off[1] < 12  # as σ²


def test_forward_and_reverse_mode_agree() -> None:
    world = make_world(SMALL)
    x, _ = noisy(world, 0.1, 2)
    along = torch.randn(2, 3, *world.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    value, forward = pushforward(lambda z: world.denoise(z, 0.1), x, along)
    torch.testing.assert_close(value, world.denoise(x, 0.1))
    leaf = x.clone().requires_grad_(True)
    (back,) = torch.autograd.grad((world.denoise(leaf, 0.1) * along[:, 0]).sum(), leaf)
    torch.testing.assert_close((back * along[:, 1]).flatten(1).sum(1), (forward[:, 1] * along[:, 0]).flatten(1).sum(1))


@pytest.mark.parametrize("check", ["posterior_is_calibrated", "mean_square_is_the_distance", "score_averages_to_zero"])
def test_it_holds_on_average_over_its_own_images(check: str) -> None:
    AVERAGES[check](make_world("decoder?latent=1&size=5&classes=4&noise=0.003"), 0.1, 1500)


def test_its_images_resemble_those_that_the_decoder_was_trained_on() -> None:
    """Real test images lie nearer to the manifold than to their mean, the more so the more coordinates it has."""
    real = torch.nn.functional.interpolate(load("fashion-mnist-5k").test.images(slice(0, 200)), size=7, mode="area")
    shares = []
    for latent in (1, 2):
        world = make_world(f"decoder?latent={latent}&size=7&noise=0.01")
        z, left = world.embedding.encode(real.double().flatten(1))
        rest = (z - world.core.decoder.values(world.core.nearest(z))).square().sum() + left.square().sum()
        shares.append(1 - float(rest / (real - real.mean(0)).double().square().sum()))
    assert 0.4 < shares[0] < shares[1] < 0.8


def test_the_file_is_small_and_says_what_it_is() -> None:
    with resources.as_file(FILE) as path:
        assert path.stat().st_size <= 300_000
        tensors, header = read_tensors(path)
    data = load("fashion-mnist-5k").train
    assert header["data_digest"] == data.digest
    assert tuple(header["classes"]) == data.classes
    assert make_world("decoder?classes=3&latent=1").class_names == data.classes[:3]
    for latent in (1, 2, 3):
        assert tensors[f"{latent}.weight.0"].shape == (48, latent)
        torch.testing.assert_close(tensors[f"{latent}.log_weights"].exp().sum(1), torch.ones(10))


def test_what_the_quadrature_cannot_resolve_is_refused_with_the_reason() -> None:
    world = make_world("decoder?size=28&noise=0.0001")
    x = world.sample(2, 0).x
    assert x.shape == (2, 1, 28, 28)
    with pytest.raises(
        NumericsError, match=r"deviation 0\.01 with 2 latent coordinates, expected at least 0\.\d+: less"
    ):
        world.score(x, 0.0)
    assert bool(torch.isfinite(world.score(x, 0.3)).all())
    clean = make_world("decoder?latent=1&size=5&noise=0")
    assert list(clean.undefined) == ["density, score, denoiser", "posterior, Bayes direction"]
    with pytest.raises(NumericsError, match="it lives on the image of a decoder"):
        clean.score(clean.sample(1, 0).x, 0.0)
    assert math.isfinite(float(clean.log_density(clean.sample(1, 0).x, 0.05)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("latent=4", "latent: got 4, expected 1, 2 or 3: the score at noise σ is a sum over a grid"),
        ("classes=11", "classes: got 11, expected 2 to 10"),
        ("size=29", "size: got 29, expected a side from 2 to 28"),
        ("noise=-1", "noise: got -1"),
    ],
)
def test_options_out_of_range_are_refused(options: str, words: str) -> None:
    with pytest.raises(NumericsError, match=words):
        make_world(f"decoder?{options}")
