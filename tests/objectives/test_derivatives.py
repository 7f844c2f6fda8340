"""Penalties on derivatives against explicit Jacobians and Hessians of each image, and closed forms of linear ones."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tangency.errors import SpecError
from tangency.models import build
from tangency.objectives import make
from tangency.objectives.derivatives import curvature, finite_difference_gradient, jacobian
from tangency.objectives.losses import gradient_norm
from tangency.seeding import Draw

N, SHAPE, CLASSES = 5, (2, 9, 8), 4


def setting(norm="none"):
    model = build("convnet", SHAPE, CLASSES, seed=1, channels=(3, 4, 5), norm=norm).double().train()
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.arange(N) % CLASSES, Draw(3, torch.arange(N), "test")


def linear(scale=1.0):
    """A linear classifier with weights (CLASSES, d), and what `setting` gives."""
    _, x, y, draw = setting()
    layer = nn.Linear(x[0].numel(), CLASSES).double()
    layer.weight.data = scale * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(2)).double()
    layer.bias.data.zero_()
    return nn.Sequential(nn.Flatten(), layer), layer.weight.detach(), x, y, draw


def cross_entropy(model, x, y):
    return F.cross_entropy(model(x), y, reduction="none")


def explicit_jacobian(model, image):
    rows = torch.autograd.functional.jacobian(lambda one: model(one[None])[0], image)
    return rows.flatten(1)


def explicit_gradient(model, image, label):
    return torch.autograd.functional.jacobian(lambda one: cross_entropy(model, one[None], label[None])[0], image)


def penalties(function, *arguments, **options):
    """What strength 1 adds to strength 0."""
    return function(*arguments, 1.0, **options) - function(*arguments, 0.0, **options)


def test_jacobian_of_each_image():
    model, x, y, draw = setting()
    rows = [explicit_jacobian(model, image) for image in x]
    exact = torch.stack([row.square().sum() for row in rows])
    torch.testing.assert_close(penalties(jacobian, model, x, y, draw, exact=True), exact, rtol=1e-10, atol=1e-12)
    wanted = torch.zeros(N, dtype=torch.float64)
    for k in range(3):
        normal = draw.of("projection", k).normal((CLASSES,), torch.float64)
        for i in range(N):
            wanted[i] += CLASSES / 3 * (normal[i] / normal[i].norm() @ rows[i]).square().sum()
    torch.testing.assert_close(penalties(jacobian, model, x, y, draw, projections=3), wanted, rtol=1e-10, atol=1e-12)


def test_projections_are_unbiased_and_of_each_step():
    """The mean over 4,000 draws is within four standard errors of ‖W‖², which a forgotten factor is not."""
    model, weight, x, y, _ = linear()
    draws = 4000
    images, ids = x[:1].expand(draws, *SHAPE), torch.arange(draws)
    drawn = penalties(jacobian, model, images, y[:1].expand(draws), Draw(0, ids, "step 1"))
    error = drawn.std() / draws**0.5
    assert abs(drawn.mean() - weight.square().sum()) < 4 * error
    assert error < 0.01 * weight.square().sum()
    other = penalties(jacobian, model, images, y[:1].expand(draws), Draw(0, ids, "step 2"))
    assert not torch.isclose(drawn, other).any()


def test_jacobian_of_a_linear_classifier():
    model, weight, x, y, draw = linear()
    wanted = weight.square().sum().expand(N)
    torch.testing.assert_close(penalties(jacobian, model, x, y, draw, exact=True), wanted)


@pytest.mark.parametrize("h", [1.5, 0.3])
def test_curvature_of_each_image(h):
    model, x, y, draw = setting()
    wanted = []
    for image, label in zip(x, y, strict=True):
        here = explicit_gradient(model, image, label)
        z = here.sign() / here.sign().norm()
        wanted.append((explicit_gradient(model, image + h * z, label) - here).square().sum())
    torch.testing.assert_close(penalties(curvature, model, x, y, draw, h=h), torch.stack(wanted), rtol=1e-9, atol=1e-15)


def test_curvature_tends_to_the_hessian_along_z():
    model, x, y, draw = setting()
    wanted = []
    for image, label in zip(x, y, strict=True):
        hessian = torch.autograd.functional.hessian(
            lambda one, label=label: cross_entropy(model, one.reshape(1, *SHAPE), label[None])[0], image.flatten()
        )
        z = explicit_gradient(model, image, label).flatten().sign()
        wanted.append((hessian @ (z / z.norm())).square().sum())
    for h, tolerance in ((1e-2, 2e-2), (1e-4, 2e-4)):
        got = penalties(curvature, model, x, y, draw, h=h) / h**2
        torch.testing.assert_close(got, torch.stack(wanted), rtol=tolerance, atol=0)


def test_curvature_of_a_linear_classifier():
    """∇ℓ = Wᵀ(p − e_y), so the penalty is ‖Wᵀ(p(x + hz) − p(x))‖²."""
    model, weight, x, y, draw = linear(0.2)
    p = model(x).softmax(1)
    gradient = (p - F.one_hot(y, CLASSES)) @ weight
    z = gradient.sign() / gradient[0].numel() ** 0.5
    moved = model((x.flatten(1) + 1.5 * z).reshape(x.shape)).softmax(1)
    wanted = ((moved - p) @ weight).square().sum(1)
    torch.testing.assert_close(penalties(curvature, model, x, y, draw), wanted)
    assert (wanted > 1e-3).all()


def test_finite_differences_of_each_image():
    model, x, y, draw = setting()
    wanted = []
    for image, label in zip(x, y, strict=True):
        gradient = explicit_gradient(model, image, label)
        ahead = image + 0.2 * gradient / gradient.norm()
        rise = cross_entropy(model, ahead[None], label[None]) - cross_entropy(model, image[None], label[None])
        wanted.append((rise / 0.2).square()[0])
    got = penalties(finite_difference_gradient, model, x, y, draw, h=0.2)
    torch.testing.assert_close(got, torch.stack(wanted), rtol=1e-9, atol=1e-14)


def test_finite_differences_tend_to_the_gradient_and_train_towards_it():
    model, x, y, draw = setting()
    exact = penalties(gradient_norm, model, x, y, draw)
    got = penalties(finite_difference_gradient, model, x, y, draw, h=1e-5)
    torch.testing.assert_close(got, exact, rtol=1e-3, atol=0)
    weights = list(model.parameters())
    both = (exact, got)
    steep = [torch.autograd.grad(p.mean(), weights, materialize_grads=True) for p in both]
    one, two = (torch.cat([g.flatten() for g in gradients]) for gradients in steep)
    assert (one - two).norm() < 1e-3 * one.norm()


def test_finite_differences_are_in_float32_under_autocast():
    """In bfloat16 the quotient would be its rounding over h: the penalty of a float32 pass is met to 0.1 %."""
    model, x, y, draw = setting()
    model, x = model.float(), x.float()
    exact = finite_difference_gradient(model, x, y, draw, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        got = finite_difference_gradient(model, x, y, draw, 1.0)
        coarse = cross_entropy(model, x, y)
    torch.testing.assert_close(got, exact, rtol=1e-3, atol=0)
    assert not torch.allclose(coarse, cross_entropy(model, x, y), rtol=1e-4)


class Dropped(nn.Module):
    """Half of the pixels count, drawn at each pass."""

    def __init__(self):
        super().__init__()
        self.inner = linear(0.2)[0]

    def forward(self, x):
        return self.inner(F.dropout(x, 0.5, self.training))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_dropout_is_the_same_on_both_sides_of_a_difference(batch_norm):
    """Else the difference over h = 0.01 is that of two networks, thousands of times the slope."""
    _, x, y, draw = setting()
    model = nn.Sequential(nn.BatchNorm2d(SHAPE[0]), Dropped()) if batch_norm else Dropped()
    model = model.double().train()

    def drawn_alike(function, **options):
        """Strength 2 less strength 1, each on a copy and with the layers' generator at the same place."""
        losses = []
        for strength in (2.0, 1.0):
            torch.manual_seed(5)
            losses.append(function(copy.deepcopy(model), x, y, draw, strength, **options))
        return losses[0] - losses[1]

    slopes = drawn_alike(gradient_norm)
    assert (slopes > 1e-3).all()
    torch.testing.assert_close(drawn_alike(finite_difference_gradient, h=1e-5), slopes, rtol=1e-3, atol=0)
    assert (drawn_alike(curvature, h=1e-6) < 1e-6 * slopes).all()


@pytest.mark.parametrize("function", [curvature, finite_difference_gradient])
def test_an_image_without_gradient_has_no_penalty_and_no_nan(function):
    model, x, y, draw = setting()
    for parameter in model.module.head.parameters():
        nn.init.zeros_(parameter)
    losses = function(model, x, y, draw, 3.0)
    torch.testing.assert_close(losses, cross_entropy(model, x, y))
    gradients = torch.autograd.grad(losses.mean(), list(model.parameters()), allow_unused=True)
    assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("jacobian", 1, projections=0), "whole number >= 1"),
        (lambda: make("jacobian", 1, exact=1), "true or false"),
        (lambda: make("jacobian", 1, projection=2), "Did you mean 'projections'"),
        (lambda: make("curvature", 1, h=0), "objective curvature: h is 0, expected a number > 0"),
        (lambda: make("curvature", 1, h=-1.0), "number >= 0"),
        (lambda: make("finite_difference_gradient", 1, h=0.0), "h is 0, expected a number > 0"),
        (lambda: make("finite_difference_gradient", 1, h=float("inf")), "finite number"),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(SpecError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
