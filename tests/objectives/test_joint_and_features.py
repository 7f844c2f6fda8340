"""Joint denoising, feature smoothing and TRADES against slow versions of each image and closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tangency.errors import ModelError, SpecError
from tangency.models import build, with_features
from tangency.objectives import make
from tangency.objectives.adversarial import divergence, trades
from tangency.objectives.denoising import joint_denoising
from tangency.objectives.features import feature_smoothing
from tangency.objectives.losses import InnerAttack
from tangency.seeding import Draw

N, SHAPE, CLASSES = 6, (2, 9, 8), 3
D = math.prod(SHAPE)


def setting():
    model = build("convnet", SHAPE, CLASSES, seed=1, channels=(3, 4, 5)).double().train()
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.arange(N) % CLASSES, Draw(3, torch.arange(N), "test")


def cross_entropy(model, x, y):
    return F.cross_entropy(model(x), y, reduction="none")


def noisy_images(x, draw, sigma):
    level = sigma * draw.of("level").uniform((), torch.float64)
    noise = draw.of("noise").normal(SHAPE, torch.float64)
    return level, noise, x + level[:, None, None, None] * noise


class Quadratic(nn.Module):
    """f_c(x) = log w_c − ‖x − μ_c‖²/(2 s²) + shift: the logarithm of a Gaussian mixture, up to a constant."""

    def __init__(self, means, width, shift=None):
        super().__init__()
        self.means, self.width = nn.Parameter(means), width
        self.log_weights = torch.arange(1.0, len(means) + 1).double().log_softmax(0)
        self.shift = shift

    def forward(self, x):
        logits = self.log_weights - (x.flatten(1)[:, None] - self.means).square().sum(2) / (2 * self.width**2)
        return logits if self.shift is None else logits + self.shift * x.flatten(1).square().sum(1, keepdim=True)


def means():
    return torch.rand(CLASSES, D, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def test_joint_denoising_of_each_image():
    model, x, y, draw = setting()
    level, noise, noisy = noisy_images(x, draw, 0.4)
    wanted = []
    for i in range(N):
        score = torch.autograd.functional.jacobian(lambda z: model(z[None])[0].logsumexp(0), noisy[i])
        denoised = noisy[i] + level[i] ** 2 * score
        mismatch = (denoised - x[i]).square().sum() / (level[i] ** 2 * D)
        wanted.append(cross_entropy(model, noisy[i][None], y[i : i + 1])[0] + 0.7 * mismatch)
    got = joint_denoising(model, x, y, draw, 0.7, sigma=0.4)
    torch.testing.assert_close(got, torch.stack(wanted), rtol=1e-9, atol=1e-9)


def test_joint_denoising_of_a_mixture():
    """The score of log Σ_c exp f_c is Σ_c p_c (μ_c − z)/s²."""
    _, x, y, draw = setting()
    model = Quadratic(means(), 0.6)
    level, noise, noisy = noisy_images(x, draw, 0.5)
    p = model(noisy).softmax(1)
    score = (p @ model.means - noisy.flatten(1)) / 0.6**2
    wanted = (noise.flatten(1) + level[:, None] * score).square().mean(1)
    got = joint_denoising(model, x, y, draw, 2.0) - joint_denoising(model, x, y, draw, 1.0)
    torch.testing.assert_close(got, wanted)


def test_joint_denoising_fixes_the_shift_of_the_logits_and_cross_entropy_does_not():
    _, x, y, draw = setting()
    plain, shifted = Quadratic(means(), 0.6), Quadratic(means(), 0.6, shift=0.5)
    one, two = (joint_denoising(model, x, y, draw, 1e-12) for model in (plain, shifted))
    torch.testing.assert_close(one, two)
    one, two = (joint_denoising(model, x, y, draw, 1.0) for model in (plain, shifted))
    assert (one - two).abs().min() > 1e-3


def test_the_true_density_has_the_least_mismatch():
    """Images at μ_c + 0.3 n: of densities of three widths, that of the data has the least mean at small noise."""
    count, ids = 600, torch.arange(600)
    y = ids % CLASSES
    x = (means()[y] + 0.3 * Draw(9, ids, "data").normal((D,), torch.float64)).reshape(count, *SHAPE)
    mismatch = []
    for width in (0.2, 0.3, 0.45):
        model = Quadratic(means(), width)
        draw = Draw(1, ids, "step")
        both = [joint_denoising(model, x, y, draw, s, sigma=0.05) for s in (2.0, 1.0)]
        mismatch.append(float((both[0] - both[1]).detach().mean()))
    assert mismatch[1] < min(mismatch[0], mismatch[2])


def test_features_are_what_goes_into_the_last_linear_layer():
    model, x, _, _ = setting()
    logits, features = with_features(model, x)
    torch.testing.assert_close(logits, model(x))
    head = model.module.head
    torch.testing.assert_close(features @ head.weight.T + head.bias, logits)
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_feature_smoothing_of_each_image():
    model, x, y, draw = setting()
    noise = draw.of("noise").normal(SHAPE, torch.float64)

    def features(image):
        caught = []
        handle = model.module.head.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
        model(image[None])
        handle.remove()
        return caught[0][0]

    moves = [(features(x[i] + 0.2 * noise[i]) - features(x[i])).square().sum() for i in range(N)]
    wanted = cross_entropy(model, x, y) + 3 * torch.stack(moves)
    torch.testing.assert_close(feature_smoothing(model, x, y, draw, 3.0, sigma=0.2), wanted)


def test_features_of_a_linear_body():
    _, x, y, draw = setting()
    body = nn.Linear(D, 4).double()
    model = nn.Sequential(nn.Flatten(), body, nn.Linear(4, CLASSES).double())
    change = 0.1 * draw.of("noise").normal((D,), torch.float64) @ body.weight.T
    got = feature_smoothing(model, x, y, draw, 1.0) - cross_entropy(model, x, y)
    torch.testing.assert_close(got, change.square().sum(1))


class ConvolutionLast(nn.Module):
    """A linear layer within, and a convolution as the last one."""

    def __init__(self):
        super().__init__()
        self.gate, self.head = nn.Linear(SHAPE[0], SHAPE[0]).double(), nn.Conv2d(SHAPE[0], CLASSES, 1).double()

    def forward(self, x):
        return self.head(x * self.gate(x.mean((2, 3)))[:, :, None, None]).mean((2, 3))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ConvolutionLast(), r"is Conv2d of an input \(6, 2, 9, 8\), expected an nn.Linear"),
        (Quadratic(means(), 1.0), "is none, expected an nn.Linear"),
    ],
)
def test_a_classifier_without_features_is_refused(model, message):
    _, x, y, draw = setting()
    with pytest.raises(ModelError, match=message) as caught:
        feature_smoothing(model, x, y, draw, 1.0)
    assert "\n" not in str(caught.value)
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_the_same_dropout_on_both_sides_of_the_features():
    _, x, y, draw = setting()
    body = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(D, 4))
    model = nn.Sequential(body, nn.Linear(4, CLASSES)).double().train()
    torch.manual_seed(0)
    losses = feature_smoothing(model, x, y, draw, 1.0, sigma=1e-9)
    torch.manual_seed(0)
    torch.testing.assert_close(losses, cross_entropy(model, x, y))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_trades_of_each_image(norm):
    model, x, y, draw = setting()
    options = {"epsilon": 0.3, "norm": norm, "attack": InnerAttack(steps=4)}
    got = trades(model, x, y, draw, 6.0, **options)
    for i in range(N):
        image, label, own = x[i : i + 1], y[i : i + 1], Draw(3, torch.tensor([i]), "test")
        p = model(image).softmax(1)[0].detach()
        delta = _attacked(model, image, p, own.of("attack"), norm) - image
        q = model(image + delta).softmax(1)[0]
        kl = sum(p[c] * (p[c].log() - q[c].log()) for c in range(CLASSES))
        torch.testing.assert_close(got[i], cross_entropy(model, image, label)[0] + 6 * kl, rtol=1e-9, atol=0)
        length = delta.norm() if norm == "l2" else delta.abs().max()
        assert 0 < float(length) <= 0.3 + 1e-9


def _attacked(model, image, p, draw, norm):
    """Projected ascent of KL(p ‖ ·) on one image, step by step."""
    epsilon, step = 0.3, 2.5 * 0.3 / 4
    if norm == "l2":
        start = draw.of("start", "direction").normal(SHAPE, torch.float64)
        delta = epsilon * start / start.norm() * draw.of("start", "radius").uniform((), torch.float64) ** (1 / D)
    else:
        delta = epsilon * (2 * draw.of("start", "direction").uniform(SHAPE, torch.float64) - 1)
    delta = (image + delta).clamp(0, 1) - image
    for _ in range(4):
        moved = (image + delta).requires_grad_(True)
        kl = (p * (p.log() - model(moved).log_softmax(1)[0])).sum()
        (gradient,) = torch.autograd.grad(kl, moved)
        if norm == "l2":
            delta = delta + step * gradient / gradient.norm()
            delta = delta * min(1.0, float(epsilon / delta.norm()))
        else:
            delta = (delta + step * gradient.sign()).clamp(-epsilon, epsilon)
        delta = (image + delta).clamp(0, 1) - image
    return (image + delta).detach()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_trades_of_a_linear_classifier_of_two_classes(norm):
    """The divergence depends on (w₁ − w₀)·δ alone, and grows to both sides: its maximum is at one of the two ends."""
    _, x, _, draw = setting()
    y = torch.arange(N) % 2
    layer = nn.Linear(D, 2).double()
    model = nn.Sequential(nn.Flatten(), layer)
    w = (layer.weight[1] - layer.weight[0]).detach()
    reach = 0.5 * (w.norm() if norm == "l2" else w.abs().sum())
    logit = (model(x)[:, 1] - model(x)[:, 0]).detach()

    def kl(moved):
        p = torch.stack([-F.softplus(logit), -F.softplus(-logit)], 1)
        q = torch.stack([-F.softplus(moved), -F.softplus(-moved)], 1)
        return (p.exp() * (p - q)).sum(1)

    got = trades(model, x, y, draw, 1.0, norm=norm, attack=InnerAttack(steps=60, relative_step=20.0, clip=False))
    penalty = got - cross_entropy(model, x, y)
    ends = torch.stack([kl(logit - reach), kl(logit + reach)])
    nearest = (penalty - ends).abs().amin(0)
    assert (nearest < 1e-3 * ends.amax(0)).all()  # an end for each image; which of the two depends on the start
    assert (penalty > 0.9 * ends.amin(0)).all()


def test_divergence_is_that_of_torch():
    one, two = (torch.randn(5, 4, generator=torch.Generator().manual_seed(s)).double().log_softmax(1) for s in (0, 1))
    wanted = F.kl_div(two, one, log_target=True, reduction="none").sum(1)
    torch.testing.assert_close(divergence(one, two), wanted)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("joint_denoising", 1, sigma=0), "objective joint_denoising: sigma is 0, expected a number > 0"),
        (lambda: make("feature_smoothing", 1, sigma=0.0), "sigma is 0, expected a number > 0"),
        (lambda: make("feature_smoothing", 1, sigma="a"), "number >= 0"),
        (lambda: make("joint_denoising", 1, sigmas=0.1), "Did you mean 'sigma'"),
        (lambda: make("trades", 6, norm="l1"), "norm is 'l1', expected one of l2, linf"),
        (lambda: make("trades", 6, epsilon=0), "epsilon is 0, expected a number > 0"),
        (lambda: make("trades", 6, random_start=False), "no gradient at δ = 0"),
        (lambda: make("trades", 6, steps=0), "whole number >= 1"),
        (lambda: make("trades", -1), "finite number >= 0"),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(SpecError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
