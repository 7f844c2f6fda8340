"""Temperatures where the true one is known, and where there is none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tangency.autodiff import CALIBRATED, Temperature, TemperatureScaled, fit_temperature, input_gradient
from tangency.errors import NumericsError
from tangency.numerics import cosine


def drawn(n: int, scale: float, temperature: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of 10 classes whose labels are drawn from softmax(f/T)."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, 10, generator=generator, dtype=torch.float64)
    return logits, torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]


def nll(logits: torch.Tensor, labels: torch.Tensor, temperature: float) -> float:
    return float(nn.functional.cross_entropy(logits / temperature, labels))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_true_temperature_is_found_and_nothing_beside_it_fits_better(temperature: float) -> None:
    logits, labels = drawn(4000, 6.0, temperature, seed=1)
    fitted = fit_temperature(logits, labels)
    assert fitted.value == pytest.approx(temperature, rel=0.06)
    assert fitted.low < temperature < fitted.high
    assert (fitted.images, fitted.errors) == (4000, int((logits.argmax(1) != labels).sum()))
    grid = [fitted.value * factor for factor in (0.98, 0.999, 1.001, 1.02)]
    assert nll(logits, labels, fitted.value) < min(nll(logits, labels, each) for each in grid)


def test_intervals_hold_the_true_temperature_as_often_as_they_say() -> None:
    intervals = [fit_temperature(*drawn(400, 12.0, 2.0, seed)) for seed in range(150)]
    covered = sum(each.low <= 2 <= each.high for each in intervals) / len(intervals)
    assert covered >= 0.9  # three standard errors below .95
    narrowed = sum(each.value + (each.low - each.value) / 2 <= 2 <= each.value + (each.high - each.value) / 2
                   for each in intervals) / len(intervals)  # fmt: skip
    assert narrowed < 0.85  # half as wide holds it .67 of the time


def test_intervals_hold_the_best_temperature_also_where_none_is_true() -> None:
    def noisy(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        logits, labels = drawn(n, 30.0, 1.0, seed)
        generator = torch.Generator().manual_seed(1000 + seed)
        other = torch.randint(10, (n,), generator=generator)
        return logits, torch.where(torch.rand(n, generator=generator) < 0.2, other, labels)

    best = fit_temperature(*noisy(40000, 500)).value
    assert best > 10  # the true one is 1 for four images in five
    intervals = [fit_temperature(*noisy(500, seed)) for seed in range(60)]
    assert sum(each.low <= best <= each.high for each in intervals) >= 51  # the unadjusted likelihood's: .77 of 60


def test_three_errors_do_not_identify_a_temperature_and_five_do() -> None:
    logits = 4 * torch.nn.functional.one_hot(torch.arange(200) % 5, 5).double()
    labels = torch.arange(200) % 5

    def wrong(errors: int) -> Temperature:
        changed = labels.clone()
        changed[:errors] = (changed[:errors] + 1) % 5
        return fit_temperature(logits, changed)

    for errors in (0, 1, 3):
        with pytest.raises(NumericsError, match=rf"got {errors} errors on 200 validation .* expected at least 4"):
            wrong(errors)
    fitted = wrong(5)
    # closed form: exp(4/T) = (C − 1)(n − k)/k
    assert fitted.value == pytest.approx(4 / math.log(4 * 195 / 5), rel=1e-9)
    assert 0 < fitted.low < fitted.value < fitted.high < math.inf


def test_logits_without_knowledge_of_the_labels_have_no_temperature() -> None:
    logits, _ = drawn(300, 1.0, 1.0, seed=3)
    with pytest.raises(NumericsError, match="do not predict the labels of 300 validation images"):
        fit_temperature(logits, torch.arange(300) % 10)
    with pytest.raises(NumericsError, match="NaN or infinite"):
        fit_temperature(logits.fill_(torch.nan), torch.arange(300) % 10)
    with pytest.raises(NumericsError, match="labels: got"):
        fit_temperature(torch.zeros(3, 2), torch.zeros(2).long())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_calibrated_gradient_is_exact_and_does_not_know_the_scale_of_the_logits(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    weights = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    x = torch.rand(400, 3, 2, 2, generator=generator, dtype=torch.float64) - 0.5
    y = torch.multinomial((2 * x.flatten(1) @ weights.mT).softmax(1), 1, generator=generator)[:, 0]
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False))
    net[1].weight.data = weights.to(dtype)
    x = x.to(dtype)
    own = fit_temperature(net(x[100:]), y[100:])
    gradient = input_gradient(TemperatureScaled(net, own.value), x[:100], y[:100], "logp_y")
    # ∇ log softmax(Wx/T)_y = Wᵀ(e_y − p)/T
    p = (x[:100].double().flatten(1) @ weights.mT / own.value).softmax(1)
    exact = (nn.functional.one_hot(y[:100], 5) - p) @ weights / own.value
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    assert float(cosine(gradient.direction.double().flatten(1), exact).min()) > 1 - tolerance
    torch.testing.assert_close(gradient.log_norm.double(), exact.norm(dim=1).log(), rtol=0, atol=10 * tolerance)
    for c in (0.03, 0.1, 0.3, 3, 10, 30):
        net[1].weight.data = (c * weights).to(dtype)
        other = fit_temperature(net(x[100:]), y[100:])
        assert other.value == pytest.approx(c * own.value, rel=1e-5)
        assert (other.low, other.high) == pytest.approx((c * own.low, c * own.high), rel=1e-5)


def test_without_a_temperature_the_calibrated_scalar_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(NumericsError, match="without a temperature, expected logp_y of TemperatureScaled"):
        input_gradient(net, torch.rand(2, 1, 2, 2), torch.tensor([0, 2]), CALIBRATED)
