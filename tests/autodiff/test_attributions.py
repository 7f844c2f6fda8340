"""Attribution maps: closed forms of linear networks, completeness, and Captum as the oracle."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from tangency.autodiff import ATTRIBUTIONS, AttributionOptions, attribution_maps, input_gradient, split_attribution
from tangency.errors import SpecError
from tangency.numerics import norms, per_example
from tangency.seeding import Draw

SHAPE, CLASSES, N = (2, 5, 6), 4, 9


def images(n: int = N) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.arange(n) * 3 + 1
    draw = Draw(0, ids, "test")
    return draw.uniform(SHAPE), draw.integers(CLASSES), ids


def linear(scale: float = 1.0) -> tuple[nn.Module, Tensor]:
    weight = scale * Draw(1, torch.arange(CLASSES)).normal(SHAPE)
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), CLASSES))
    model[1].weight.data = weight.flatten(1).clone()
    return model, weight


def curved() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, CLASSES)
        )


def whole(found: object) -> Tensor:
    """The map itself: its direction at its length."""
    stretch = (found.log_norm - norms(found.direction).log()).exp()
    return found.direction * per_example(stretch, found.direction)


def test_maps_of_a_linear_network_are_their_closed_forms() -> None:
    model, weight = linear()
    x, y, ids = images()
    options = AttributionOptions(samples=3, sigma=0.4, steps=2, baseline=0.25)
    closed = {
        "gradient_x_input": weight[y] * x,
        "smoothgrad": weight[y],
        "integrated_gradients": weight[y] * (x - 0.25),
    }
    found = attribution_maps(model, x, y, [f"{name}(logit_y)" for name in closed], ids, options)
    for name, expected in closed.items():
        torch.testing.assert_close(whole(found[f"{name}(logit_y)"]), expected, rtol=1e-5, atol=1e-6)
    sums = attribution_maps(model, x, y, ["gradient_x_input(sum_logits)"], ids, options)
    torch.testing.assert_close(whole(sums["gradient_x_input(sum_logits)"]), weight.sum(0) * x, rtol=1e-5, atol=1e-5)


def target(model: nn.Module, name: str, y: Tensor) -> nn.Module:
    """The scalar as a function of the image alone, which Captum differentiates."""

    class Chosen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits = model(x)
            values = logits.log_softmax(1) if name == "logp_y" else logits
            return values.gather(1, y.repeat_interleave(len(x) // len(y))[:, None])[:, 0]

    return Chosen()


@pytest.mark.parametrize("scalar", ["logp_y", "logit_y"])
def test_maps_equal_captums(scalar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum.attr import InputXGradient, IntegratedGradients, NoiseTunnel, Saliency

    model, (x, y, ids) = curved(), images()
    options = AttributionOptions(samples=4, sigma=0.2, steps=7, baseline=0.5)
    names = [f"{method}({scalar})" for method in ATTRIBUTIONS]
    ours = {name: whole(found) for name, found in attribution_maps(model, x, y, names, ids, options).items()}
    function = target(model, scalar, y)
    noises = [Draw(0, ids, f"smoothgrad {k}").normal(SHAPE) for k in range(4)]
    repeated = torch.stack(noises, 1).flatten(0, 1)  # Captum holds the samples of an image together
    monkeypatch.setattr(torch, "normal", lambda mean, std: mean + std * repeated)
    integrated = IntegratedGradients(lambda p: target(model, scalar, y.repeat(len(p) // N))(p))
    theirs = {
        "gradient_x_input": InputXGradient(function).attribute(x.clone().requires_grad_(True)),
        "smoothgrad": NoiseTunnel(Saliency(function)).attribute(
            x.clone().requires_grad_(True), nt_type="smoothgrad", nt_samples=4, stdevs=0.2, abs=False
        ),
        "integrated_gradients": integrated.attribute(
            x, baselines=torch.full_like(x, 0.5), n_steps=7, method="gausslegendre"
        ),
    }
    for method, expected in theirs.items():
        torch.testing.assert_close(ours[f"{method}({scalar})"], expected.detach(), rtol=1e-4, atol=1e-6)


def test_integrated_gradients_are_complete() -> None:
    model, (x, y, ids) = curved().double(), images()
    x = x.double()
    options = AttributionOptions(steps=32, baseline=0.5)
    found = attribution_maps(model, x, y, ["integrated_gradients(logp_y)"], ids, options)
    with torch.no_grad():
        ends = [model(p).log_softmax(1).gather(1, y[:, None])[:, 0] for p in (x, torch.full_like(x, 0.5))]
    total = whole(found["integrated_gradients(logp_y)"]).flatten(1).sum(1)
    torch.testing.assert_close(total, ends[0] - ends[1], rtol=1e-9, atol=1e-12)
    coarse = attribution_maps(
        model, x, y, ["integrated_gradients(logp_y)"], ids, AttributionOptions(steps=1, baseline=0.5)
    )
    off = whole(coarse["integrated_gradients(logp_y)"]).flatten(1).sum(1) - (ends[0] - ends[1])
    assert float(off.abs().max()) > 1e-6  # one node is too few: the test above can fail


@pytest.mark.parametrize("batch", [1, 4])
def test_maps_depend_on_the_image_alone(batch: int) -> None:
    model, (x, y, ids) = curved().double(), images()
    x, names = x.double(), [f"{method}(logit_pred)" for method in ATTRIBUTIONS]
    together = attribution_maps(model, x, y, names, ids)
    order = torch.arange(N).flip(0)
    turned = attribution_maps(model, x[order], y[order], names, ids[order], batch_size=batch)
    for name in names:
        torch.testing.assert_close(whole(turned[name])[order], whole(together[name]), rtol=1e-9, atol=1e-12)


def test_smoothgrad_keeps_a_gradient_that_underflows_and_a_predicted_class() -> None:
    model, weight = linear(400.0)
    x, _, ids = images()
    y = model(x).argmax(1)
    found = attribution_maps(model, x, y, ["smoothgrad(logp_y)"], ids, AttributionOptions(sigma=1e-3))
    direction = found["smoothgrad(logp_y)"].direction
    plain = input_gradient(model, x, y, "logp_y")
    assert bool((plain.log_norm < -100).any())  # p_y is 1 to more digits than float32 has
    assert bool((norms(direction) > 0).all())
    predicted = attribution_maps(model, x, (y + 1) % CLASSES, ["smoothgrad(logit_pred)"], ids)
    torch.testing.assert_close(whole(predicted["smoothgrad(logit_pred)"]), weight[y], rtol=1e-5, atol=1e-3)


def test_a_zero_gradient_has_no_direction_and_spoils_no_other() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            flat = x.flatten(1) * (x.flatten(1)[:, :1] > 0.5)
            return torch.stack([flat.sum(1), -flat.sum(1)], 1)

    x, _, ids = images()
    x[:, 0, 0, 0] = 0.9
    x[3, 0, 0, 0] = 0.1
    found = attribution_maps(Masked(), x, torch.zeros(N, dtype=torch.long), ["gradient_x_input(logp_y)"], ids)
    lengths = norms(found["gradient_x_input(logp_y)"].direction)
    assert (lengths == 0).nonzero().flatten().tolist() == [3]
    assert float(found["gradient_x_input(logp_y)"].log_norm[3]) == -math.inf


def test_names_are_read_and_bad_ones_named() -> None:
    assert split_attribution("smoothgrad(margin)") == ("smoothgrad", "margin")
    assert split_attribution("lse") == ("", "lse")
    with pytest.raises(SpecError, match="Did you mean 'smoothgrad'"):
        split_attribution("smothgrad(logp_y)")
    with pytest.raises(SpecError, match="unknown scalar 'logp'"):
        split_attribution("smoothgrad(logp)")
    with pytest.raises(SpecError, match="0 samples"):
        AttributionOptions(samples=0)
    with pytest.raises(SpecError, match="sigma 0"):
        AttributionOptions(sigma=0)
