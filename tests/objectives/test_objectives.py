"""The objectives are their formulas, image by image, whatever the batch and its normalisation."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from objective_support import complete
from tangency.attacks import pgd
from tangency.errors import SpecError
from tangency.models import Classifier, build
from tangency.objectives import LEGACY, OBJECTIVES, make
from tangency.seeding import Draw

N, SHAPE, CLASSES = 7, (2, 11, 13), 5
CASES = [(name, 0.0 if name == "standard" else 0.3) for name in sorted(OBJECTIVES)]


def setting(norm="none", n=N):
    model = build("convnet", SHAPE, CLASSES, seed=1, channels=(3, 5, 7), norm=norm).double().train()
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.arange(n) % CLASSES, Draw(3, torch.arange(n), "test")


def listed(draw, index):
    return Draw(draw.seed, draw.ids[index], draw.purpose)


def cross_entropy(model, x, y):
    return F.cross_entropy(model(x), y, reduction="none")


def test_standard_is_the_cross_entropy_of_each_image():
    model, x, y, draw = setting()
    by_hand = torch.stack([-model(x[i : i + 1]).log_softmax(1)[0, y[i]] for i in range(N)])
    torch.testing.assert_close(make("standard").losses(model, x, y, draw), by_hand)


def test_gradient_norm_adds_the_squared_gradient_of_each_image():
    model, x, y, draw = setting()
    wanted = []
    for i in range(N):
        image = x[i : i + 1].clone().requires_grad_(True)
        loss = cross_entropy(model, image, y[i : i + 1])[0]
        (gradient,) = torch.autograd.grad(loss, image)
        wanted.append(float(loss.detach() + 0.3 * gradient.square().sum()))
    got = make("gradient_norm", 0.3).losses(model, x, y, draw)
    assert got.tolist() == pytest.approx(wanted, rel=1e-9)


def test_gradient_norm_has_the_derivative_of_finite_differences():
    model, x, y, draw = setting()
    objective, weight = make("gradient_norm", 3.0), model.module.features[0].weight
    (gradient,) = torch.autograd.grad(objective.losses(model, x, y, draw).mean(), weight)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(4)).double()
    values = []
    for step in (1e-5, -1e-5):
        weight.data += step * direction
        values.append(float(objective.losses(model, x, y, draw).mean().detach()))
        weight.data -= step * direction
    assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


def test_noise_consistency_and_augmentation_use_the_noise_of_each_image():
    model, x, y, draw = setting()
    noise = draw.of("noise").normal(SHAPE, torch.float64)
    wanted = cross_entropy(model, x, y) + 2 * (model(x + 0.07 * noise) - model(x)).square().sum(1)
    torch.testing.assert_close(make("noise_consistency", 2, sigma=0.07).losses(model, x, y, draw), wanted)
    wanted = cross_entropy(model, x + 0.2 * noise, y)
    torch.testing.assert_close(make("noise_augmentation", 0.2).losses(model, x, y, draw), wanted)
    assert make("noise_consistency", 2).options == {"sigma": 0.1}


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_pgd_is_the_loss_at_the_attacked_images(norm):
    model, x, y, draw = setting()
    images = pgd(model, x, y, 0.4, norm, 3, 0.2, draw=draw.of("attack")).images
    got = make(f"pgd_{norm}", 0.4, steps=3, relative_step=1.5).losses(model, x, y, draw)
    torch.testing.assert_close(got, cross_entropy(model, images, y))
    assert bool((got > cross_entropy(model, x, y)).all())


@pytest.mark.parametrize(("name", "strength"), CASES)
def test_losses_do_not_depend_on_batch_or_order(name, strength):
    model, x, y, draw = setting()
    objective, order = complete(name, strength), torch.tensor([5, 1, 3])
    together = objective.losses(model, x, y, draw)
    parts = objective.losses(model, x[order], y[order], listed(draw, order))
    torch.testing.assert_close(parts, together[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "strength"), CASES)
def test_strength_zero_is_standard_training(name, strength):
    model, x, y, draw = setting()
    torch.testing.assert_close(complete(name, 0).losses(model, x, y, draw), cross_entropy(model, x, y))


@pytest.mark.parametrize(("name", "strength"), CASES)
def test_batch_normalisation_learns_once_a_step_and_modes_and_gradients_are_left_alone(name, strength):
    model, x, y, draw = setting("batch")
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    modes = [part.training for part in model.modules()]
    losses = complete(name, strength).losses(model, x, y, draw)
    assert int(model.module.features[1].num_batches_tracked) == 1
    assert [part.training for part in model.modules()] == modes
    assert all(bool((parameter.grad == 1).all()) for parameter in model.parameters())
    gradients = torch.autograd.grad(losses.mean(), list(model.parameters()))
    assert any(bool((gradient != 0).any()) for gradient in gradients)


@pytest.mark.parametrize("name", ["gradient_norm", "noise_consistency", "projected_gradient_norm"])
def test_under_batch_normalisation_the_penalty_of_an_image_does_not_see_its_neighbours(name):
    def penalties(legacy, index):
        model, x, y, draw = setting("batch")
        model.module.features[1].running_var *= 2  # unlike any batch
        x, y, draw = x[index], y[index], listed(draw, index)
        clean = cross_entropy(setting("batch")[0], x, y)  # in train mode: of this batch
        objective = make(name, 0.3, legacy=legacy) if legacy else complete(name, 0.3)
        return objective.losses(model, x, y, draw) - clean

    few, all_of_them = torch.arange(3), torch.arange(N)
    torch.testing.assert_close(penalties(None, few), penalties(None, all_of_them)[:3], rtol=1e-9, atol=1e-9)
    if name in LEGACY["pags"]:
        assert not torch.allclose(penalties("pags", few), penalties("pags", all_of_them)[:3], rtol=0.05)


def test_under_batch_normalisation_the_penalty_trains_as_on_a_copy_in_eval_mode():
    """A pass in train mode between the penalty and its backward pass must not change the penalty's derivative."""
    model, x, y, draw = setting("batch")
    got = torch.autograd.grad(make("gradient_norm", 3.0).losses(model, x, y, draw).mean(), list(model.parameters()))
    fresh, frozen = setting("batch")[0], setting("batch")[0].eval()
    clean = torch.autograd.grad(cross_entropy(fresh, x, y).mean(), list(fresh.parameters()))
    inputs = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(frozen, inputs, y).sum(), inputs, create_graph=True)
    penalty = 3.0 * gradient.square().sum() / N
    steep = torch.autograd.grad(penalty, list(frozen.parameters()), materialize_grads=True)
    for mine, one, two in zip(got, clean, steep, strict=True):
        torch.testing.assert_close(mine, one + two, rtol=1e-9, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), fresh.buffers(), strict=True))


@pytest.mark.parametrize("name", ["gradient_norm", "noise_consistency", "pgd_l2", "projected_gradient_norm"])
def test_an_exception_in_the_model_leaves_batch_normalisation_in_its_mode(name):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.calls = nn.BatchNorm2d(2), 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 2:
                raise KeyError("second call")
            return self.norm(x).flatten(1)[:, :CLASSES]

    _, x, y, draw = setting()
    model = Fails().double().train()
    with pytest.raises(KeyError):
        complete(name, 0.3).losses(model, x, y, draw)
    assert model.norm.training


def test_instance_normalisation_does_not_couple_images():
    from tangency.objectives.coupling import batch_coupled

    model = nn.Sequential(nn.BatchNorm2d(3), nn.InstanceNorm2d(3, track_running_stats=True), nn.GroupNorm(1, 3))
    assert batch_coupled(model) == [model[0]]
    assert batch_coupled(model.eval()) == []


class TinyAttention(nn.Module):
    """Rows of the image as tokens; both ways torch offers attention."""

    def __init__(self, way):
        super().__init__()
        self.way, self.embed, self.head = way, nn.Linear(26, 8), nn.Linear(8, CLASSES)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = self.embed(x.transpose(1, 2).flatten(2))
        if self.way == "module":
            mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        else:
            mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(mixed.mean(1))


@pytest.mark.parametrize("way", ["module", "function"])
def test_attention_trains_a_step_under_the_gradient_penalty(way):
    torch.manual_seed(0)
    model = Classifier.wrap(TinyAttention(way), SHAPE, CLASSES)
    _, x, y, draw = setting()
    objective = make("gradient_norm", 10.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    before = objective.losses(model, x.float(), y, draw).mean()
    before.backward()
    optimiser.step()
    assert bool(objective.losses(model, x.float(), y, draw).mean() < before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("gradient_nrom", 1), "Did you mean 'gradient_norm'"),
        (lambda: make("smoth", 1), "Did you mean 'smooth'"),
        (lambda: make("pgd_l2", 1, step=3), "Did you mean 'steps'"),
        (lambda: make("pgd_l2", 1, steps=0), "whole number >= 1"),
        (lambda: make("pgd_l2", 1, steps=2.5), "whole number >= 1"),
        (lambda: make("pgd_l2", 1, random_start=1), "true or false"),
        (lambda: make("noise_consistency", 1, sigma=-0.1), "number >= 0"),
        (lambda: make("noise_consistency", 1, sigma="a"), "number >= 0"),
        (lambda: make("gradient_norm", -1), "finite number >= 0"),
        (lambda: make("gradient_norm", float("nan")), "finite number >= 0"),
        (lambda: make("gradient_norm", float("inf")), "finite number >= 0"),
        (lambda: make("gradient_norm", "3"), "expected a finite number"),
        (lambda: make("standard", 1), "expected 0"),
        (lambda: make("pgd_linf", 1, legacy="pags"), "Leave out legacy"),
        (lambda: make("pgd_l2", 1, legacy="page"), "Did you mean 'pags'"),
        (lambda: make("pgd_l2", 1, legacy="pags", random_start=True), "unknown option"),
    ],
)
def test_wrong_choices_are_named(call, message):
    with pytest.raises(SpecError, match=message):
        call()


def test_published_names_are_aliases():
    published = {"gnorm": "gradient_norm", "smooth": "noise_consistency", "rand_smooth": "noise_augmentation"}
    for alias, name in published.items():
        assert make(alias, 0.1) == make(name, 0.1)
    assert set(LEGACY["pags"]) <= set(OBJECTIVES)
