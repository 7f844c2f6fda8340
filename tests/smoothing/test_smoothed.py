"""The smoothed classifier: closed forms on linear networks, batch invariance, no side effects."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import nn

from tangency.autodiff import input_gradients
from tangency.errors import DataError, NumericsError
from tangency.numerics import cosine
from tangency.seeding import Draw
from tangency.smoothing import ABSTAIN, Smoothed

SHAPE = (1, 3, 4)


def linear(classes: int = 2, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> nn.Module:
    layer = nn.Linear(12, classes, dtype=dtype)
    generator = torch.Generator().manual_seed(classes)
    layer.weight.data = scale * torch.randn(classes, 12, generator=generator, dtype=torch.float64).to(dtype)
    layer.bias.data = torch.zeros(classes, dtype=dtype)
    return nn.Sequential(nn.Flatten(), layer)


def images(n: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(dtype)


def deep() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Dropout(), nn.Linear(24, 3)
        )
    return net.double()


def distance(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Signed distance from the border of a linear network of 2 classes, positive on class 0's side."""
    w = model[1].weight[0] - model[1].weight[1]
    return ((x.flatten(1) @ w) / w.norm()).detach()


def test_radii_of_real_noise_exceed_the_true_one_no_more_often_than_alpha():
    """One image each of 1,500 at distances on both sides of the border, 300 draws each."""
    model, x, alpha = linear(), images(1500), 0.05
    shift = 0.4 * torch.linspace(-1, 1, len(x), dtype=torch.float64) - distance(model, x)
    w = model[1].weight[0] - model[1].weight[1]
    x = (x.flatten(1) + shift[:, None] * w / w.norm()).detach().reshape(x.shape)
    found = Smoothed(model, 0.3, seed=4, batch_size=5000).certify(x, torch.arange(len(x)), 50, 300, alpha)
    true = distance(model, x)
    right = torch.where(true > 0, 0, 1)
    wrong = ((found.classes != right) & (found.classes != ABSTAIN)) | (found.radius > true.abs())
    assert stats.binomtest(int(wrong.sum()), len(x), alpha, alternative="greater").pvalue > 0.001
    assert int(wrong.sum()) > 10
    assert float((found.classes == ABSTAIN).double().mean()) < 0.4
    far = true.abs() > 0.3
    assert float((found.radius[far] / true[far].abs()).mean()) > 0.75


def test_votes_have_the_probability_of_the_half_space():
    model, x = linear(), images(6)
    votes = Smoothed(model, 0.5, batch_size=4096).votes(x, torch.arange(6), 4000)
    wanted = torch.special.ndtr(distance(model, x) / 0.5)
    assert votes.sum(1).tolist() == [4000] * 6
    error = (wanted * (1 - wanted) / 4000).sqrt()
    assert bool(((votes[:, 0] / 4000 - wanted).abs() < 4 * error + 1e-9).all())


@pytest.mark.parametrize("batch", [1, 7, 64, 10_000])
def test_nothing_depends_on_the_batch_or_the_order(batch):
    model, x, ids = deep(), images(5), torch.tensor([8, 3, 2**31 - 1, 0, 77])
    y = torch.tensor([0, 1, 2, 0, 1])
    whole = Smoothed(model, 0.4, seed=1)
    order = torch.tensor([3, 1])
    other = Smoothed(model, 0.4, seed=1, batch_size=batch)
    assert torch.equal(whole.votes(x, ids, 37), other.votes(x, ids, 37))
    assert torch.equal(whole.votes(x, ids, 37)[order], other.votes(x[order], ids[order], 37))
    first, second = whole.certify(x, ids, 10, 60, 0.05), other.certify(x[order], ids[order], 10, 60, 0.05)
    assert torch.equal(first.radius[order], second.radius)
    assert torch.equal(first.classes[order], second.classes)
    assert torch.equal(whole.predict(x, ids, 50, 0.05)[order], other.predict(x[order], ids[order], 50, 0.05))
    for of in ("logp_y", "logit_y"):
        mine, alone = whole.gradient(x, y, ids, 33, of), other.gradient(x[order], y[order], ids[order], 33, of)
        assert float(cosine(mine.direction[order], alone.direction).min()) > 1 - 1e-12
        torch.testing.assert_close(mine.log_norm[order], alone.log_norm, rtol=1e-9, atol=1e-9)


def test_purposes_have_independent_noise_and_more_draws_keep_the_first():
    smoothed, x, ids = Smoothed(linear(), 0.5), images(3), torch.arange(3)
    few, many = (torch.cat([noisy for _, noisy in smoothed._noisy(x[:1], ids[:1], n, "a")]) for n in (4, 9))
    assert torch.equal(few, many[:4])
    other = torch.cat([noisy for _, noisy in smoothed._noisy(x[:1], ids[:1], 4, "b")])
    assert not bool((few == other).any())


def test_predict_abstains_on_the_border_and_answers_far_from_it():
    model = linear()
    w = (model[1].weight[0] - model[1].weight[1]).detach()
    at = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    x = (at[:, None] * w / w.norm()).reshape(3, *SHAPE)
    smoothed = Smoothed(model, 0.5)
    assert smoothed.predict(x, torch.arange(3), 500, 0.001).tolist() == [ABSTAIN, 0, 1]
    found = smoothed.certify(x, torch.arange(3), 50, 500, 0.001)
    assert found.classes.tolist() == [ABSTAIN, 0, 1]
    assert float(found.radius[0]) == 0


def copies(smoothed: Smoothed, x: torch.Tensor, ids: torch.Tensor, n: int) -> torch.Tensor:
    """(N, n, …) noisy images of the gradient."""
    noisy = torch.cat([part for _, part in smoothed._noisy(x, ids, n, "gradient")])
    return noisy.reshape(len(x), n, *x.shape[1:])


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_gradient_is_the_exact_one_of_the_mean_over_its_draws(scale):
    """log p̄_y with the same noise, differentiated by torch in one piece, in float64."""

    class Sharp(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = deep().eval()

        def forward(self, x):
            return scale * self.net(x)

    model, x, ids, y = Sharp(), images(4), torch.arange(4), torch.tensor([0, 1, 2, 1])
    smoothed = Smoothed(model.eval(), 0.3, batch_size=13)
    offsets = copies(smoothed, x, ids, 40) - x[:, None]
    inputs = x.clone().requires_grad_(True)
    noisy = (inputs[:, None] + offsets).flatten(0, 1)
    logits = model(noisy).reshape(4, 40, 3)
    value = logits.log_softmax(2)[torch.arange(4), :, y].logsumexp(1)
    (wanted,) = torch.autograd.grad(value.sum(), inputs, retain_graph=True)
    found = smoothed.gradient(x, y, ids, 40)
    torch.testing.assert_close(cosine(found.direction, wanted), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.log_norm, wanted.flatten(1).norm(dim=1).log(), rtol=1e-7, atol=1e-7)
    (wanted,) = torch.autograd.grad(logits[torch.arange(4), :, y].mean(1).sum(), inputs)
    found = smoothed.gradient(x, y, ids, 40, "logit_y")
    torch.testing.assert_close(found.direction / 40, wanted, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.log_norm, wanted.flatten(1).norm(dim=1).log(), rtol=1e-9, atol=1e-9)


def test_gradient_of_a_quadratic_is_its_own_and_obeys_steins_identity():
    """f(x) = b·x + ½ xᵀAx: E∇f(x + σn) = ∇f(x), and E[f(x + σn) n]/σ is the same."""
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(12, 12, generator=generator, dtype=torch.float64) / 12
    a, b = a + a.T, torch.randn(12, generator=generator, dtype=torch.float64)

    class Quadratic(nn.Module):
        def forward(self, x):
            rows = x.flatten(1)
            value = rows @ b + ((rows @ a) * rows).sum(1) / 2
            return torch.stack([value, -value], 1)

    x, ids, n = images(2), torch.arange(2), 20_000
    smoothed = Smoothed(Quadratic(), 0.5, batch_size=20_000)
    exact = (x.flatten(1) @ a + b).reshape(x.shape)
    found = smoothed.gradient(x, torch.zeros(2, dtype=torch.int64), ids, n, "logit_y").direction / n
    torch.testing.assert_close(found, exact, rtol=0, atol=0.03)
    noisy = copies(smoothed, x, ids, n)
    values = Quadratic()(noisy.flatten(0, 1))[:, 0].reshape(2, n)
    noise = (noisy - x[:, None]) / 0.5
    stein = ((values - values.mean(1, keepdim=True))[:, :, None] * noise.flatten(2)).mean(1) / 0.5
    torch.testing.assert_close(stein.reshape(x.shape), exact, rtol=0, atol=0.12)


def test_a_saturated_softmax_keeps_its_direction_and_a_constant_one_has_none():
    x, ids, y = images(3, torch.float32), torch.arange(3), torch.zeros(3, dtype=torch.int64)
    model = linear(2, torch.float32, 1e5)
    found = Smoothed(model, 0.01).gradient(x, y, ids, 20)
    plain = input_gradients(model, x, y, ["logp_y"])["logp_y"].direction
    assert float(cosine(found.direction, plain).min()) > 1 - 1e-5
    assert bool(torch.isfinite(found.log_norm).all())
    still = linear(2, torch.float32, 0.0)
    found = Smoothed(still, 0.1).gradient(x, y, ids, 20)
    assert bool((found.direction == 0).all())
    assert bool((found.log_norm == -torch.inf).all())


def test_leaves_the_classifier_as_it_was():
    model, x, ids = deep().train(), images(4), torch.arange(4)
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, float(number))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    smoothed = Smoothed(model, 0.2)
    smoothed.certify(x, ids, 10, 50, 0.05)
    smoothed.gradient(x, torch.zeros(4, dtype=torch.int64), ids, 5)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(part.training for part in model.modules())
    assert all(p.requires_grad and bool((p.grad == n).all()) for n, p in enumerate(model.parameters()))


def test_logits_that_are_not_finite_vote_for_no_class():
    class Half(nn.Module):
        def forward(self, x):
            value = x.flatten(1).sum(1)
            return torch.stack([torch.where(value > 0, 1.0, torch.nan), torch.zeros_like(value)], 1)

    x = torch.zeros(1, *SHAPE)
    votes = Smoothed(Half(), 0.5).votes(x, torch.tensor([0]), 400)
    assert int(votes[0, 1]) == 0
    assert 140 < int(votes[0, 0]) < 260
    found = Smoothed(Half(), 0.5).certify(x, torch.tensor([0]), 20, 400, 0.05)
    assert found.classes.tolist() == [ABSTAIN]


def test_draws_follow_the_seed():
    x, ids = images(1), torch.arange(1)
    one, two = (next(Smoothed(linear(), 1.0, seed)._noisy(x, ids, 1, "a"))[1] for seed in (0, 1))
    assert not torch.equal(one, two)
    normal = Draw(0, torch.tensor([0]), "smoothing a").normal(SHAPE, torch.float64)
    torch.testing.assert_close(one, x + normal)


def test_wrong_arguments_are_named():
    smoothed, x, ids = Smoothed(linear(), 0.5), images(2), torch.arange(2)
    with pytest.raises(NumericsError, match="sigma"):
        Smoothed(linear(), 0.0)
    with pytest.raises(NumericsError, match="batch_size"):
        Smoothed(linear(), 0.5, batch_size=0)
    with pytest.raises(NumericsError, match=r"predict: got n = 10 .* expected n of at least 11"):
        smoothed.predict(x, ids, 10, 0.001)
    with pytest.raises(NumericsError, match=r"certify: got n = 9 "):
        smoothed.certify(x, ids, 10, 9, 0.001)
    with pytest.raises(NumericsError, match="n0 = 0"):
        smoothed.certify(x, ids, 0, 100)
    with pytest.raises(NumericsError, match="ids"):
        smoothed.votes(x, ids[:1], 5)
    with pytest.raises(NumericsError, match="ids"):
        smoothed.votes(x, ids - 1, 5)
    with pytest.raises(NumericsError, match="no images"):
        smoothed.votes(x[:0], ids[:0], 5)
    with pytest.raises(NumericsError, match="n = 0"):
        smoothed.gradient(x, torch.zeros(2, dtype=torch.int64), ids, 0)
    with pytest.raises(NumericsError, match="Did you mean 'logp_y'"):
        smoothed.gradient(x, torch.zeros(2, dtype=torch.int64), ids, 2, "logpy")
    with pytest.raises(DataError, match="labels"):
        smoothed.gradient(x, torch.tensor([0, 2]), ids, 2)
