"""The published objectives against the published loop written out, and where the corrected ones differ."""

import pytest
import torch
from torch.nn import functional as F

from tangency.attacks import pags_pgd
from tangency.models import build
from tangency.objectives import make
from tangency.seeding import Draw

SHAPE = (2, 11, 13)


def setting(n, norm="batch"):
    model = build("convnet", SHAPE, 5, seed=1, channels=(3, 5, 7), norm=norm).double().train()
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.arange(n) % 5, Draw(3, torch.arange(n), "test")


def parameter_gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("n", [3, 7])
def test_published_gradient_norm_has_the_published_value(n):
    model, x, y, draw = setting(n)
    got = make("gnorm", 0.02, legacy="pags").losses(model, x, y, draw).mean()
    inputs = x.clone().requires_grad_(True)
    loss = F.cross_entropy(setting(n)[0](inputs), y)
    (gradient,) = torch.autograd.grad(loss, inputs)
    wanted = loss + 0.02 * 1e5 * (gradient**2).sum() / n
    assert float(got.detach()) == pytest.approx(float(wanted.detach()), rel=1e-9)


def test_published_penalty_is_the_corrected_one_times_1e5_over_the_batch_size_squared():
    ratios = {}
    for n in (3, 7):
        model, x, y, draw = setting(n, "none")
        clean = F.cross_entropy(model(x), y).detach()
        penalty = [
            float(make("gradient_norm", 1.0, legacy=legacy).losses(model, x, y, draw).mean().detach() - clean)
            for legacy in ("pags", None)
        ]
        ratios[n] = penalty[0] / penalty[1]
    assert ratios[3] == pytest.approx(1e5 / 9)
    assert ratios[7] == pytest.approx(1e5 / 49)


def test_published_noise_consistency_has_the_published_value_and_learns_from_noise():
    model, x, y, draw = setting(7)
    got = make("smooth", 0.5, legacy="pags").losses(model, x, y, draw).mean()
    assert int(model.module.features[1].num_batches_tracked) == 2
    other = setting(7)[0]
    clean = other(x)
    noisy = other(x + 0.1 * draw.of("noise").normal(SHAPE, torch.float64))
    wanted = F.cross_entropy(clean, y) + 0.5 * ((clean - noisy) ** 2).sum() / 7
    assert float(got.detach()) == pytest.approx(float(wanted.detach()), rel=1e-9)


def test_published_pgd_has_the_published_value_and_accumulated_parameter_gradient():
    steps, epsilon = 4, 2.0
    model, x, y, draw = setting(7)
    losses = make("pgd", epsilon, legacy="pags", steps=steps).losses(model, x, y, draw)
    got = parameter_gradients(model, losses.mean())
    assert int(model.module.features[1].num_batches_tracked) == steps + 1

    # The published loop: zero_grad, attack with backward(), loss at the end, backward(), and only then a step.
    model, x, y, draw = setting(7)
    model.zero_grad()
    delta = draw.of("attack").of("start").uniform(SHAPE, torch.float64)
    delta = (epsilon * delta / delta.flatten().norm() / 2).requires_grad_(True)
    for _ in range(steps):
        F.cross_entropy(model(x + delta), y).backward()
        step = 2 * epsilon / steps * delta.grad / delta.grad.flatten().norm()
        delta = (delta + step).detach()
        if delta.flatten().norm() > epsilon:
            delta = delta * epsilon / delta.flatten().norm()
        delta.requires_grad_(True)
    final = F.cross_entropy(model(x + delta.detach()), y)
    final.backward()
    assert float(losses.mean().detach()) == pytest.approx(float(final.detach()), rel=1e-9)
    for mine, parameter in zip(got, model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-7, atol=1e-10)


def test_corrected_pgd_uses_the_gradient_of_the_final_loss_alone():
    model, x, y, draw = setting(7, "none")
    losses = make("pgd_l2", 0.5, steps=4).losses(model, x, y, draw)
    from tangency.attacks import pgd

    images = pgd(model, x, y, 0.5, steps=4, draw=draw.of("attack")).images
    wanted = parameter_gradients(model, F.cross_entropy(model(images), y))
    for mine, theirs in zip(parameter_gradients(model, losses.mean()), wanted, strict=True):
        torch.testing.assert_close(mine, theirs)
    published = make("pgd_l2", 0.5, steps=4, legacy="pags").losses(model, x, y, draw)

    def length(values):
        return float(torch.cat([g.flatten() for g in parameter_gradients(model, values.mean())]).norm())

    losses = make("pgd_l2", 0.5, steps=4).losses(model, x, y, draw)
    assert length(published) > 3 * length(losses)  # five gradients of similar direction instead of one


def test_published_losses_depend_on_the_batch_size_where_the_corrected_do_not():
    for name, strength in (("gradient_norm", 0.01), ("pgd_l2", 1.0)):
        model, x, y, draw = setting(7, "none")
        three = (x[:3], y[:3], Draw(3, draw.ids[:3], "test"))
        for legacy, depends in (("pags", True), (None, False)):
            objective = make(name, strength, legacy=legacy)
            few = objective.losses(model, *three)
            many = objective.losses(model, x, y, draw)[:3]
            assert torch.allclose(few, many, rtol=1e-6) is not depends


def test_published_noise_augmentation_is_the_corrected_one():
    model, x, y, draw = setting(7, "none")
    same = [make("rand_smooth", 0.1, legacy=legacy).losses(model, x, y, draw) for legacy in ("pags", None)]
    assert torch.equal(*same)


def test_published_attack_keeps_a_graph_only_for_the_parameters():
    model, x, y, draw = setting(3)
    images, ascended = pags_pgd(model, x, y, 1.0, 2, draw=draw)
    assert not images.requires_grad
    assert len(ascended) == 2
    assert all(losses.shape == (3,) and losses.requires_grad for losses in ascended)
