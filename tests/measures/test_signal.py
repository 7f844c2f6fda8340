"""Signal and distractor: closed forms of a linear classifier, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tangency.data import load
from tangency.errors import NumericsError, SpecError
from tangency.evaluate import estimates
from tangency.measures import MeasureConfig, measure
from tangency.worlds import with_distractor

N = 40


@pytest.fixture(scope="module")
def data():
    return with_distractor(load("fashion-mnist-5k").test.subset(slice(0, 300)), seed=3)


class Halves(nn.Module):
    """Two logits ± w·x/2, w constant on each half: `inside` on the upper, `outside` on the lower half."""

    def __init__(self, inside: float, outside: float) -> None:
        super().__init__()
        w = torch.full((56, 28), inside)
        w[28:] = outside
        self.register_buffer("w", w.flatten() / 280)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x.flatten(1) @ self.w
        return torch.stack([out, -out] + [torch.full_like(out, -30.0)] * 8, 1) / 2


def rows(data, model: nn.Module, **changes):
    config = MeasureConfig(
        sigmas=(0.5,), rho_sigmas=(0.05,), epsilons=(1.0,), noise_sigmas=(0.01, 0.5), metrics=("cosine",), **changes
    )
    train = data.subset(slice(100, None))
    labels = data.labels[:N] % 2
    return measure(
        model, data.images(slice(0, N)), labels, train_data=train, pool=data, ids=torch.arange(N), config=config
    )


def test_the_fraction_on_the_signal_is_that_of_the_weights(data) -> None:
    found = rows(data, Halves(3.0, 1.0))["signal_fraction.margin"]
    upper = data.signal[:N, 0, 0]
    expected = torch.where(upper, 0.9, 0.1).double()
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_the_ratio_of_small_noise_is_the_ratio_of_the_weights(data) -> None:
    """E|σ w·n| ∝ ‖w‖ on each half, so the pooled ratio of softmax changes is 3 where the signal is above, 1/3 below."""
    found = rows(data, Halves(3.0, 1.0), directions=200)
    upper = data.signal[:N, 0, 0]
    above, below = found["noise_signal.sigma=0.01"], found["noise_distractor.sigma=0.01"]
    assert float(above[upper].sum() / below[upper].sum()) == pytest.approx(3, rel=0.1)
    assert float(above[~upper].sum() / below[~upper].sum()) == pytest.approx(1 / 3, rel=0.1)
    x = data.images(slice(0, N))
    p = torch.sigmoid(x.flatten(1) @ Halves(3.0, 1.0).w)
    exact = 2 * (p * (1 - p)) * 1e-2 * math.sqrt(2 / math.pi) * torch.where(upper, 0.3, 0.1)
    assert torch.allclose(above, exact.double(), rtol=0.25)


def test_the_pooled_ratio_has_interval_and_chance(data) -> None:
    found = estimates(rows(data, Halves(1.0, 1.0), directions=20)).measures
    entry = found["relative_noise.sigma=0.5"]
    assert entry.low < 1 < entry.high
    assert entry.chance == 1
    assert found["signal_fraction.margin"].chance == 0.5
    assert "signal_share" not in found


def test_an_image_has_the_same_row_in_any_batch(data) -> None:
    model = Halves(3.0, 1.0)
    config = MeasureConfig(sigmas=(0.5,), rho_sigmas=(0.05,), epsilons=(1.0,), noise_sigmas=(0.5,), metrics=("cosine",))
    train = data.subset(slice(100, None))
    x, y = data.images(slice(0, 7)), data.labels[:7] % 2
    whole = measure(model, x, y, train_data=train, pool=data, ids=torch.arange(7), config=config)
    one = measure(model, x[5:6], y[5:6], train_data=train, pool=data, ids=torch.tensor([5]), config=config)
    for key in ("noise_signal.sigma=0.5", "noise_distractor.sigma=0.5", "signal_fraction.margin"):
        assert float(one[key][0]) == pytest.approx(float(whole[key][5]), rel=1e-4)


def test_a_zero_gradient_has_no_fraction(data) -> None:
    found = rows(data, Halves(0.0, 0.0))
    assert bool(found["signal_fraction.margin"].isnan().all())
    assert bool((found["noise_signal.sigma=0.5"] == 0).all())


def test_a_noise_grid_needs_a_known_signal() -> None:
    plain = load("fashion-mnist-5k").test.subset(slice(0, 60))
    with pytest.raises(NumericsError, match="whose signal's place is not known"):
        rows(plain, nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    with pytest.raises(SpecError, match="noise_sigmas"):
        MeasureConfig(noise_sigmas=(0.0,))
