"""The strongest of several runs, judged on what is returned; success that falls where it cannot."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy import stats
from torch import nn

from tangency.attacks import NORMS, Threat, masking_check, pgd, pgd_restarts, success_falls
from tangency.autodiff import log_odds
from tangency.errors import NumericsError
from tangency.models import build
from tangency.seeding import Draw

N, SHAPE, CLASSES = 7, (1, 11, 13), 5


def setting() -> tuple[nn.Module, torch.Tensor, torch.Tensor, Draw]:
    model = build("convnet", SHAPE, CLASSES, seed=1, channels=(3, 5, 7)).double()
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, model.eval()(x).argmax(1).detach(), Draw(3, torch.arange(100, 100 + N), "test")


class Waves(nn.Module):
    """Margin of class 0 over class 1 is 0.6 + sin(20 Σx): many local maxima, of which the higher ones fool."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x.flatten(1).sum(1)
        margin = 1.5 + (20 * total).sin() * (1 + (total - total.round()).abs() * 2)
        return torch.stack([margin, torch.zeros_like(margin)], 1)


class Masked(nn.Module):
    """Fooled only in a thin band of Σx − 6, behind which it is right again; the gradient always points upwards."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x.flatten(1).sum(1)
        band = ((total > 6.2) & (total < 7.0)).to(x.dtype)
        slope = -(total - total.detach())  # zero, with a gradient
        return torch.stack([0.5 - band + slope, torch.zeros_like(total)], 1)


@pytest.mark.parametrize("norm", NORMS)
def test_a_run_more_never_weakens_the_attack(norm):
    x = torch.rand(40, 1, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, draw = torch.zeros(40, dtype=torch.int64), Draw(0, torch.arange(40), "waves")
    budget = {"l2": 0.1, "linf": 0.03}[norm]
    runs = [pgd_restarts(Waves(), x, y, Threat(budget, norm, 4), restarts=r, draw=draw) for r in (1, 2, 4, 8)]
    for fewer, more in itertools.pairwise(runs):
        assert not bool((fewer.fooled & ~more.fooled).any())
        same = fewer.fooled == more.fooled
        assert bool((more.loss[same] >= fewer.loss[same] - 1e-12).all())
    assert float((runs[-1].loss - runs[0].loss).max()) > 0.01, "the test needs images for which restarts help"


@pytest.mark.parametrize("norm", NORMS)
def test_one_run_is_pgd_and_the_verdict_is_that_of_the_returned_images(norm):
    model, x, y, draw = setting()
    one = pgd_restarts(model, x, y, Threat(0.4, norm, 3), draw=draw)
    torch.testing.assert_close(one.images, pgd(model, x, y, 0.4, norm, 3, draw=draw).images, rtol=0, atol=0)
    for found in (one, pgd_restarts(model, x, y, Threat(0.4, norm, 3), restarts=3, draw=draw)):
        logits = model(found.images)
        torch.testing.assert_close(found.logits, logits, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found.loss, -log_odds(logits, y), rtol=1e-12, atol=1e-12)
        assert torch.equal(found.fooled, logits.argmax(1) != y)
        assert not bool(found.stalled.any())
        delta = (found.images - x).flatten(1)
        assert float((delta.norm(dim=1) if norm == "l2" else delta.abs().amax(1)).max()) <= 0.4 + 1e-9
        assert 0 <= float(found.images.min()) <= float(found.images.max()) <= 1


def test_an_image_has_its_own_strongest_attack_in_any_batch():
    model, x, y, draw = setting()
    whole = pgd_restarts(model, x, y, Threat(0.6, steps=4), restarts=3, draw=draw)
    order = torch.tensor([5, 0])
    part = pgd_restarts(
        model, x[order], y[order], Threat(0.6, steps=4), restarts=3, draw=Draw(3, draw.ids[order], "test")
    )
    torch.testing.assert_close(part.images, whole.images[order], rtol=1e-9, atol=1e-9)
    alone = pgd_restarts(model, x[4:5], y[4:5], Threat(0.6, steps=4), restarts=3, draw=Draw(3, draw.ids[4:5], "test"))
    torch.testing.assert_close(alone.images, whole.images[4:5], rtol=1e-9, atol=1e-9)


def test_leaves_a_training_network_with_batch_normalisation_as_it_was():
    model, x, y, draw = setting()
    model.train()
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, float(number))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pgd_restarts(model, x, y, Threat(0.5, steps=2), restarts=2, draw=draw)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(part.training for part in model.modules())
    assert all(p.requires_grad and bool((p.grad == n).all()) for n, p in enumerate(model.parameters()))


def test_a_network_that_overwrites_its_input_is_attacked_all_the_same():
    model, x, y, draw = setting()
    plain = pgd_restarts(nn.Sequential(nn.ReLU(), model), x, y, Threat(0.5, steps=3), draw=draw)
    found = pgd_restarts(nn.Sequential(nn.ReLU(inplace=True), model), x, y, Threat(0.5, steps=3), draw=draw)
    torch.testing.assert_close(found.images, plain.images, rtol=0, atol=0)
    torch.testing.assert_close(found.loss, plain.loss, rtol=0, atol=0)


def test_without_a_gradient_every_run_stalls():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.stack([torch.ones_like(x[:, 0, 0, 0]), 0 * x[:, 0, 0, 0]], 1)

    _, x, _, draw = setting()
    found = pgd_restarts(Constant(), x, torch.zeros(N, dtype=torch.int64), Threat(0.5), restarts=3, draw=draw)
    assert bool(found.stalled.all())
    assert not bool(found.fooled.any())
    with pytest.raises(NumericsError, match="restarts"):
        pgd_restarts(Constant(), x, torch.zeros(N, dtype=torch.int64), Threat(0.5), restarts=0, draw=draw)


def test_falls_are_judged_by_the_sign_test():
    generator = torch.Generator().manual_seed(0)
    for lost, gained in ((0, 0), (7, 0), (6, 0), (12, 2), (5, 5), (0, 9)):
        fooled = torch.zeros(2, 30, dtype=torch.bool)
        fooled[0, :lost] = True
        fooled[1, lost : lost + gained] = True
        both = torch.rand(2, 5, generator=generator) > 2  # images that neither fools say nothing
        found = success_falls(torch.cat([fooled, both], 1), ["weak", "strong"])
        wanted = stats.binomtest(lost, lost + gained, alternative="greater").pvalue if lost + gained else 1.0
        assert bool(found) == (wanted < 0.01)
        if found:
            assert found[0].p_value == pytest.approx(wanted)
            assert (found[0].lost, found[0].gained) == (lost, gained)
            assert "weak to strong" in str(found[0])
    with pytest.raises(NumericsError, match="2 strengths"):
        success_falls(torch.zeros(3, 4, dtype=torch.bool), ["a", "b"])


def test_masked_gradients_are_noticed_and_honest_ones_are_not():
    x = torch.full((30, 1, 3, 4), 0.5, dtype=torch.float64)  # Σx = 6; a step of l2 length ε adds ε √12 to it
    y, draw = torch.zeros(30, dtype=torch.int64), Draw(0, torch.arange(30), "masked")
    falls = masking_check(Masked(), x, y, Threat(1.0), (0.2, 1.0), steps=(10,), draw=draw)
    assert [(fall.weaker, fall.stronger) for fall in falls] == [("ε = 0.2", "ε = 1")]
    assert falls[0].lost > 20
    assert falls[0].gained == 0
    model, x, y, draw = setting()
    assert masking_check(model, x, y, Threat(1.0), (0.3, 1.0, 3.0), steps=(2, 5, 10), draw=draw) == []
    with pytest.raises(NumericsError, match="no budgets"):
        masking_check(model, x, y, Threat(1.0), (), draw=draw)


def test_steps_that_make_the_attack_weaker_are_noticed():
    x = torch.full((30, 1, 3, 4), 0.5, dtype=torch.float64)
    y, draw = torch.zeros(30, dtype=torch.int64), Draw(0, torch.arange(30), "late")
    few, many = (
        pgd_restarts(Masked(), x, y, Threat(0.6, steps=steps, step_size=0.05, random_start=False), draw=draw).fooled
        for steps in (3, 12)
    )
    assert bool(few.all())
    assert not bool(many.any())
    assert len(success_falls(torch.stack([few, many]), ["3 steps", "12 steps"])) == 1
