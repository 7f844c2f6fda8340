"""The Bayes rule as a classifier: closed-form gradients, least error."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from tangency.autodiff import SCALARS, input_gradients
from tangency.errors import NumericsError
from tangency.numerics import cosine, norms
from tangency.worlds import BayesClassifier, bayes_risk, make_world
from worlds.world_averages import noisy
from worlds.world_cases import EVERYWHERE, HAS_POSTERIOR, images_case, reference_case, world_case
from worlds.world_reference import gradient

PAIRS = [*EVERYWHERE, *((name, 0.0) for name in HAS_POSTERIOR)]


@pytest.mark.parametrize(("name", "sigma"), PAIRS)
def test_gradient_of_log_p_is_the_bayes_direction(name: str, sigma: float) -> None:
    world = world_case(name)
    x, y = images_case(name, sigma)
    found = input_gradients(BayesClassifier(world, sigma), x, y, ["logp_y", "loss"])
    exact = world.bayes_direction(x, y, sigma)
    size = norms(exact.direction)[:, None, None, None]
    assert float(((found["logp_y"].direction - exact.direction) / size).abs().max()) < 1e-12
    torch.testing.assert_close(found["logp_y"].log_norm, exact.log_norm, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found["loss"].direction, -found["logp_y"].direction)


@pytest.mark.parametrize("name", ["linear", "sphere", "uneven torus", "mixture"])
def test_gradient_of_every_scalar_is_that_of_its_reference(name: str) -> None:
    """log-probabilities as logits: sum, single logits, and log-sum-exp, which is zero everywhere."""
    world, ref, sigma = world_case(name), reference_case(name), 0.1
    x, y = images_case(name, sigma)
    found = input_gradients(BayesClassifier(world, sigma), x, y, list(SCALARS))
    for i, row in enumerate(x.flatten(1)):
        expected = {
            "logit_y": gradient(lambda z, i=i: ref.log_posterior(z, sigma)[int(y[i])], row),
            "logit_pred": gradient(lambda z: ref.log_posterior(z, sigma).amax(), row),
            "sum_logits": gradient(lambda z: ref.log_posterior(z, sigma).sum(), row),
            "lse": torch.zeros_like(row),
        }
        for scalar, value in expected.items():
            error = (found[scalar].direction[i].flatten() - value).abs().max() / max(1.0, float(value.abs().max()))
            assert float(error) < 1e-9, scalar


@pytest.mark.parametrize("name", ["linear", "sphere", "torus", "distractor", "mixture"])
def test_float32_images_have_the_same_gradient(name: str) -> None:
    world, n = world_case(name), 100
    x, y = noisy(world, 0.05, n)[1], world.sample(n, 21).y
    model = BayesClassifier(world, 0.05)
    single, double = (input_gradients(model, images, y, ["logp_y"])["logp_y"] for images in (x.float(), x))
    assert single.direction.dtype == torch.float32
    assert float(cosine(single.direction.double(), double.direction).min()) > 0.9999
    assert model(x.float()).dtype == torch.float32


@pytest.mark.parametrize("name", ["linear", "offset", "rotated", "sphere", "thick torus", "faint distractor"])
def test_accuracy_is_one_minus_the_bayes_risk(name: str) -> None:
    world, n, sigma = world_case(name), 4000, 0.2
    y, x = world.sample(n, 21).y, noisy(world, sigma, n)[1]
    right = (BayesClassifier(world, sigma)(x).argmax(1) == y).double()
    risk = bayes_risk(world, sigma, n, seed=2)
    spread = ((risk.high - risk.low) ** 2 / 3.92**2 + float(right.var()) / n) ** 0.5
    assert abs(float(right.mean()) - (1 - risk.mean)) < 4.5 * spread


def test_no_other_rule_is_better() -> None:
    """Each of many other linear rules, and the rule for another noise, errs more often."""
    world, n = world_case("linear"), 4000
    y, x = world.sample(n, 21).y, noisy(world, 0.1, n)[1]
    best = float((BayesClassifier(world, 0.1)(x).argmax(1) == y).double().mean())
    centred = (x - 0.5).flatten(1)
    means = torch.stack([centred[y == c].mean(0) for c in range(world.classes)])
    assert float(((centred @ means.T).argmax(1) == y).double().mean()) < best
    assert float((BayesClassifier(world, 2.0)(x).argmax(1) == y).double().mean()) < best


@pytest.mark.parametrize("sigma", [0.1, 0.4])
def test_risk_of_two_parallel_subspaces_is_that_of_a_normal_tail(sigma: float) -> None:
    """Two classes √2·distance·scale apart in noise √(ψ + σ²); of forty 95 % intervals most hold their risk."""
    world = make_world("offset?rank=2&classes=2&shape=1x3x4&noise=0.01&distance=0.6")
    apart = 2**0.5 * 0.6 * world.embedding.scale
    true = float(stats.norm.sf(apart / 2 / (0.01 + sigma**2) ** 0.5))
    risks = [bayes_risk(world, sigma, 500, seed) for seed in range(40)]
    assert sum(risk.low <= true <= risk.high for risk in risks) >= 33
    mean = sum(risk.mean for risk in risks) / 40
    assert abs(mean - true) < 4.5 * (risks[0].high - risks[0].low) / 3.92 / 40**0.5


def test_risk_is_within_its_bounds_and_reproducible() -> None:
    world = world_case("sphere")
    risk = bayes_risk(world, 0.1, 300)
    assert risk == bayes_risk(world, 0.1, 300)
    assert risk != bayes_risk(world, 0.1, 300, seed=1)
    assert 0 <= risk.low <= risk.mean <= risk.high <= 1 - 1 / world.classes
    assert bayes_risk(make_world("offset?shape=1x4x4&rank=2&distance=9"), 1e-3, 100).high < 1e-6
    hopeless = bayes_risk(make_world("sphere?concentration=0&shape=1x3x3&rank=2&classes=4"), 0.1, 100)
    assert hopeless.mean == pytest.approx(0.75, abs=1e-9)
    with pytest.raises(NumericsError, match="got n = 1"):
        bayes_risk(world, 0.1, 1)


def test_more_noise_is_more_risk() -> None:
    world = world_case("torus")
    risks = [bayes_risk(world, sigma, 2000).mean for sigma in (0.0, 0.1, 0.3, 1.0)]
    assert risks == sorted(risks)


@pytest.mark.parametrize("name", ["linear", pytest.param("sphere", marks=pytest.mark.slow)])
def test_its_second_derivatives_are_right(name: str) -> None:
    """So that gradient penalties, Hessians and forward-mode products work on it as on any module."""
    world = world_case(name)
    x, _ = images_case(name, 0.1)
    model, x = BayesClassifier(world, 0.1), x[:2].clone().requires_grad_(True)
    assert torch.autograd.gradgradcheck(lambda z: model(z)[:, 0], (x,), atol=1e-4, rtol=1e-3)
    along = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    _, forward = torch.func.jvp(model, (x.detach(),), (along,))
    (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    torch.testing.assert_close(forward[:, 0], (gradient * along).flatten(1).sum(1))


def test_batches_do_not_matter() -> None:
    world = world_case("uneven sphere")
    x, y = noisy(world, 0.1, 30)[1], world.sample(30, 21).y
    model = BayesClassifier(world, 0.1)
    one = input_gradients(model, x, y, ["logp_y"], batch_size=7)["logp_y"]
    torch.testing.assert_close(one.direction, input_gradients(model, x, y, ["logp_y"])["logp_y"].direction)
    assert list(model.parameters()) == []
