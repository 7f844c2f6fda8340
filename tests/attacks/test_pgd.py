"""PGD: a budget for every image, exact on linear models, without side effects."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tangency.attacks import NORMS, pgd
from tangency.errors import NumericsError
from tangency.models import build
from tangency.seeding import Draw

N, SHAPE, CLASSES = 7, (2, 11, 13), 5


def setting(dtype=torch.float64, norm="batch"):
    model = build("convnet", SHAPE, CLASSES, seed=1, channels=(3, 5, 7), norm=norm).to(dtype)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(N, *SHAPE, generator=generator, dtype=torch.float64).to(dtype)
    return model, x, torch.arange(N) % CLASSES, Draw(3, torch.arange(100, 100 + N), "test")


def lengths(delta, norm):
    rows = delta.flatten(1)
    return rows.square().sum(1).sqrt() if norm == "l2" else rows.abs().amax(1)


def one_image_by_the_book(model, x, y, start, epsilon, norm, steps, step_size):
    """Slow and obvious: one image (C, H, W), cross-entropy, clip to the box last."""
    delta = start.clone()
    for step in range(steps + 1):
        if norm == "l2" and delta.norm() > epsilon:
            delta = delta / delta.norm() * epsilon
        delta = delta if norm == "l2" else delta.clamp(-epsilon, epsilon)
        delta = (x + delta).clamp(0, 1) - x
        if step < steps:
            delta.requires_grad_(True)
            F.cross_entropy(model((x + delta)[None]), y[None]).backward()
            gradient, delta = delta.grad, delta.detach()
            delta = delta + step_size * (gradient / gradient.norm() if norm == "l2" else gradient.sign())
    return x + delta


@pytest.mark.parametrize("norm", NORMS)
def test_equals_the_textbook_loop_over_single_images(norm):
    model, x, y, draw = setting()
    model.eval()
    epsilon = {"l2": 1.5, "linf": 0.2}[norm]
    # steps=0 without bounds gives the start itself.
    start = pgd(model, x, y, epsilon, norm, 0, draw=draw, bounds=None).images - x
    got = pgd(model, x, y, epsilon, norm, 6, draw=draw).images
    for i in range(N):
        wanted = one_image_by_the_book(model, x[i], y[i], start[i], epsilon, norm, 6, 2.5 * epsilon / 6)
        torch.testing.assert_close(got[i], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_an_image_alone_in_a_batch_or_in_another_order_is_attacked_alike(norm):
    model, x, y, draw = setting()
    model.train()  # batch normalisation would couple the images if the attack ran in this mode
    together = pgd(model, x, y, 0.7, norm, 5, draw=draw).images
    order = torch.tensor([4, 2, 6, 0])
    shuffled = pgd(model, x[order], y[order], 0.7, norm, 5, draw=Draw(3, draw.ids[order], "test")).images
    alone = pgd(model, x[4:5], y[4:5], 0.7, norm, 5, draw=Draw(3, draw.ids[4:5], "test")).images
    torch.testing.assert_close(shuffled, together[order], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(alone, together[4:5], rtol=1e-9, atol=1e-9)


@given(
    norm=st.sampled_from(NORMS),
    epsilons=st.lists(st.floats(0, 50), min_size=N, max_size=N),
    steps=st.integers(0, 3),
    corner=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_results_stay_in_ball_and_box(norm, epsilons, steps, corner):
    model, x, y, draw = setting(torch.float32, "none")
    x[:2] = corner
    epsilon = torch.tensor(epsilons)
    images = pgd(model, x, y, epsilon, norm, steps, draw=draw).images
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    assert bool((lengths(images - x, norm) <= epsilon * (1 + 1e-5) + 1e-6).all())


@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_finds_the_exact_worst_case_of_a_linear_model(norm, dual):
    """Two classes, logits ± w·x: the worst loss in the ball is softplus(2(ε‖w‖_dual − y w·x))."""
    weights = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    linear = nn.Linear(15, 2, bias=False, dtype=torch.float64)
    linear.weight.data = torch.stack([weights.flatten(), -weights.flatten()])
    model = nn.Sequential(nn.Flatten(), linear)
    x = torch.rand(N, 1, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    y = torch.tensor([0, 1, 0, 1, 1, 0, 0])
    # Long steps: each one shrinks the part of the random start across w to a quarter.
    images = pgd(model, x, y, 0.3, norm, 20, 0.9, draw=Draw(0, torch.arange(N)), bounds=None).images
    sign = 1.0 - 2 * y
    wanted = F.softplus(2 * (0.3 * weights.flatten().norm(p=dual) - sign * (x.flatten(1) @ weights.flatten())))
    torch.testing.assert_close(F.cross_entropy(model(images), y, reduction="none"), wanted, rtol=1e-5, atol=1e-6)


def test_l2_starts_uniformly_in_the_ball_and_in_both_orthants():
    n, d = 4000, 3
    x = torch.full((n, 1, 1, d), 0.5, dtype=torch.float64)
    y = torch.zeros(n, dtype=torch.int64)
    delta = pgd(nn.Flatten(), x, y, 0.4, "l2", 0, draw=Draw(1, torch.arange(n)), bounds=None).images - x
    volume = (lengths(delta, "l2") / 0.4) ** d  # uniform on (0, 1)
    assert abs(float(volume.mean()) - 0.5) < 4 * math.sqrt(1 / 12 / n)
    assert abs(float(volume.var()) - 1 / 12) < 0.005
    assert float(delta.flatten(1).mean(0).abs().max()) < 4 * 0.4 / math.sqrt(n)
    assert 0.45 < float((delta < 0).double().mean()) < 0.55


def test_linf_starts_uniformly_in_the_cube():
    n = 2000
    x = torch.full((n, 1, 1, 3), 0.5, dtype=torch.float64)
    y = torch.zeros(n, dtype=torch.int64)
    delta = pgd(nn.Flatten(), x, y, 0.4, "linf", 0, draw=Draw(1, torch.arange(n)), bounds=None).images - x
    assert abs(float(delta.mean())) < 4 * 0.4 / math.sqrt(3 * n * 3)
    assert abs(float(delta.var()) - 0.4**2 / 3) < 0.003


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_gradient_an_image_stays_and_is_counted(norm):
    class HalfBlind(nn.Module):
        def forward(self, x):
            seen = x.flatten(1) * (x[:, 0, 0, :1] > 0.5)
            return torch.stack([seen.sum(1), -seen.sum(1)], 1)

    x = torch.rand(5, 1, 2, 3) * 0.4 + 0.05
    x[[1, 3], 0, 0, 0] = 0.9
    attack = pgd(
        HalfBlind(),
        x,
        torch.zeros(5, dtype=torch.int64),
        0.01,
        norm,
        3,
        draw=Draw(0, torch.arange(5)),
        random_start=False,
    )
    assert attack.stalled.tolist() == [True, False, True, False, True]
    moved = (attack.images != x).flatten(1).any(1)
    assert torch.equal(moved, ~attack.stalled)
    assert bool(torch.isfinite(attack.images).all())


@pytest.mark.parametrize("norm", NORMS)
def test_saturated_logits_do_not_stop_the_attack(norm):
    """A model sharpened until its cross-entropy gradient is exactly zero is attacked in the same direction."""
    model, x, _, draw = setting(torch.float32, "none")
    y = model(x).argmax(1)

    class Sharp(nn.Module):
        def forward(self, x):
            return 1e6 * model(x)

    inputs = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(F.cross_entropy(Sharp()(inputs), y, reduction="sum"), inputs)
    saturated = (gradient == 0).flatten(1).all(1)
    assert int(saturated.sum()) >= N // 2, "the test needs images whose loss gradient underflows"
    attack = pgd(Sharp(), x, y, 0.5, norm, 1, draw=draw, random_start=False)
    assert not bool(attack.stalled.any())
    moved = lengths(attack.images - x, norm)
    assert bool((moved > 0.3 * 0.5).all())


@pytest.mark.parametrize("fails", [False, True])
def test_leaves_modes_flags_gradients_and_statistics_as_they_were(fails):
    model, x, y, draw = setting()
    model.train()
    model.module.head.eval()
    model.module.head.bias.requires_grad_(False)
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, float(number))
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    modes = [part.training for part in model.modules()]
    if fails:
        with pytest.raises(IndexError):
            pgd(model, x, y + CLASSES, 0.5, draw=draw, project=lambda v: v[[]][0])
    else:
        pgd(model, x, y, 0.5, draw=draw)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    for number, parameter in enumerate(model.parameters()):
        assert bool((parameter.grad == number).all())
    assert [p.requires_grad for p in model.parameters()].count(False) == 1


@pytest.mark.parametrize("norm", NORMS)
def test_projected_attacks_stay_in_their_subspace_and_ball(norm):
    model, x, y, draw = setting()
    size = x[0].numel()
    basis, _ = torch.linalg.qr(torch.randn(size, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))

    def tangent(v):
        return (v.flatten(1) @ basis @ basis.T).reshape(v.shape)

    attack = pgd(model, x, y, 0.5, norm, 8, draw=draw, bounds=None, project=tangent)
    delta = attack.images - x
    torch.testing.assert_close(tangent(delta), delta, rtol=1e-9, atol=1e-9)
    assert bool((lengths(delta, norm) <= 0.5 + 1e-9).all())
    model.eval()
    before, after = (F.cross_entropy(model(images), y, reduction="none") for images in (x, attack.images))
    assert bool((after > before).all())


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), torch.ones(3), torch.ones(N, 1)])
def test_wrong_budgets_are_named(value):
    model, x, y, draw = setting()
    with pytest.raises(NumericsError, match="epsilon"):
        pgd(model, x, y, value, draw=draw)


def test_other_wrong_arguments_are_named():
    model, x, y, draw = setting()
    with pytest.raises(NumericsError, match="Did you mean 'linf'"):
        pgd(model, x, y, 0.1, "inf", draw=draw)
    with pytest.raises(NumericsError, match="normalisation"):
        pgd(model, x * 3, y, 0.1, draw=draw)
    with pytest.raises(NumericsError, match="normalisation"):
        pgd(model, x * float("nan"), y, 0.1, draw=draw)
    with pytest.raises(NumericsError, match="steps"):
        pgd(model, x, y, 0.1, steps=-1, draw=draw)
    with pytest.raises(NumericsError, match=r"\(N,\)"):
        pgd(model, x, y[:3], 0.1, draw=draw)
    with pytest.raises(NumericsError, match="step_size"):
        pgd(model, x, y, 0.1, step_size=-1.0, draw=draw)


def test_an_empty_batch_gives_an_empty_attack():
    model, x, y, draw = setting()
    for norm in NORMS:
        attack = pgd(model, x[:0], y[:0], 0.1, norm, draw=Draw(0, draw.ids[:0]))
        assert attack.images.shape == (0, *SHAPE)
        assert attack.stalled.shape == (0,)
