"""Changes of the output under random steps and noise: closed forms, and no pass more than is needed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from support import make_mixture
from tangency.measures import Comparison, ComparisonSource, MeasureConfig, describe, measure_batch
from tangency.measures.keys import Key
from tangency.measures.registry import ingredients
from tangency.measures.robustness.changes import Change
from tangency.score import MixtureScore
from tangency.tangents import MixtureTangents
from tangency.types import LabelledImages

SHAPE, CLASSES, N = (1, 5, 7), 3, 20
CONFIG = MeasureConfig(
    tangent_scalars=("logp_y",), alignments=(), sigmas=(0.5,), rho_sigmas=(0.1,), epsilons=(0.5, 2.0), directions=3
)


def references(config: MeasureConfig = CONFIG) -> Comparison:
    mixture = make_mixture(SHAPE, CLASSES, 2, 4, noise=0.003)
    x, y = mixture.sample(N, 0)
    data = LabelledImages(x.clamp(0, 1), y, ("a", "b", "c"))
    source = ComparisonSource(MixtureScore(mixture), {"mfa": MixtureTangents(mixture)}, data, data, config)
    return source.at(data.images(), data.labels, torch.arange(N))


class Linear(nn.Module):
    """Counts its passes."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(scale * torch.randn(CLASSES, 35, generator=generator, dtype=torch.float64))
        self.passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return x.flatten(1) @ self.weight.T


def test_logit_change_of_a_linear_network_is_the_step_times_the_gain_along_it() -> None:
    found, model = references(), Linear()
    rows = measure_batch(model, found, CONFIG, None)
    for side, directions in (("on", found.frames[0].on), ("off", found.frames[0].off)):
        gain = (directions.flatten(2) @ model.weight.T).norm(dim=2).mean(0)
        for epsilon in CONFIG.epsilons:
            torch.testing.assert_close(rows[f"logit_change_{side}.eps={epsilon:g}"], epsilon * gain.detach())


def test_kl_is_torchs_and_zero_where_nothing_moves() -> None:
    found, model = references(), Linear()
    rows = measure_batch(model, found, CONFIG, None)
    for side, directions in (("on", found.frames[0].on), ("off", found.frames[0].off)):
        base = model(found.x).log_softmax(1)
        wanted = [
            F.kl_div(model(found.x + 2 * u).log_softmax(1), base, reduction="none", log_target=True) for u in directions
        ]
        torch.testing.assert_close(rows[f"kl_{side}.eps=2"], torch.stack(wanted).sum(2).mean(0).detach())
    still = measure_batch(Linear(0.0), found, CONFIG, None)
    for name in ("change", "logit_change", "kl"):
        assert bool((still[f"{name}_on.eps=2"] == 0).all())


def test_kl_of_saturated_logits_is_finite_and_exact() -> None:
    """p = (1, e⁻²⁰⁰⁰), p' the other way round: KL = 2000 nats, where a logarithm of probabilities has none."""
    change = Change(torch.tensor([[2000.0, 0.0], [0.0, 0.0]]))
    assert change.kl(torch.tensor([[0.0, 2000.0], [0.0, 0.0]])).tolist() == [2000.0, 0.0]
    assert change.softmax(torch.tensor([[0.0, 2000.0], [0.0, 0.0]])).tolist() == [2.0, 0.0]


def test_logit_change_sees_a_common_shift_and_the_probabilities_do_not() -> None:
    change = Change(torch.tensor([[1.0, 2.0]]))
    moved = torch.tensor([[4.0, 5.0]])
    assert float(change.logit(moved)) == pytest.approx(3 * 2**0.5)
    assert float(change.softmax(moved)) == pytest.approx(0, abs=1e-6)
    assert float(change.kl(moved)) == pytest.approx(0, abs=1e-12)


def test_all_distances_come_from_the_passes_that_one_needs() -> None:
    """1 clean pass; 3 directions × 2 sides × 2 lengths; 3 noises × (all, off); 1 for the gradient."""
    found, model = references(), Linear()
    measure_batch(model, found, CONFIG, None)
    assert model.passes == 1 + 3 * 2 * 2 + 3 * 2 + 1


def test_noise_accuracy_and_change_of_a_linear_network() -> None:
    """P(right | x) under noise is Φ(margin / (σ‖w_0 − w_1‖)) for two classes; many directions, 4 standard errors."""
    config = MeasureConfig(alignments=(), rho_sigmas=(0.3,), epsilons=(1.0,), directions=400)

    class Two(nn.Module):
        def forward(self, x):
            value = x.flatten(1).sum(1) - 17
            return torch.stack([value, -value, torch.full_like(value, -50)], 1)

    found = references(config)
    rows = measure_batch(Two(), found, config, None)
    margin = (found.x.flatten(1).sum(1) - 17) / (0.3 * 35**0.5)
    p = torch.special.ndtr(torch.where(found.truth == 0, margin, -margin)).where(found.truth < 2, 0.0)
    error = (p * (1 - p) / 400).sqrt()
    assert bool(((rows["accuracy_noise.sigma=0.3"] - p).abs() <= 4.5 * error + 1e-9).all())
    assert 0 < float(rows["change_noise.sigma=0.3"].min()) <= float(rows["change_noise.sigma=0.3"].max()) <= 2


def test_logits_that_are_not_finite_have_no_noise_accuracy() -> None:
    class Broken(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] + torch.where(x.flatten(1).sum(1) > 0, torch.nan, 0.0)[:, None]

    rows = measure_batch(Broken(), references(), CONFIG, None)
    assert rows.degenerate()["accuracy_noise.sigma=0.1"] == N
    assert rows.degenerate()["kl_on.eps=2"] == N


def test_every_measure_is_in_the_registry_and_in_its_range() -> None:
    rows = measure_batch(Linear(), references(), CONFIG, None)
    for key, values in rows.columns.items():
        if Key.parse(key).family in ingredients():
            continue
        info = describe(key)
        finite = values[values.isfinite()]
        assert bool(((finite >= info.scale.low - 1e-6) & (finite <= info.scale.high + 1e-6)).all()), key
