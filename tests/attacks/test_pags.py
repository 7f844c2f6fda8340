"""The published attack, defect by defect, beside the corrected one."""

import pytest
import torch
from torch import nn

from tangency.attacks import pags_pgd, pgd
from tangency.errors import NumericsError
from tangency.models import build
from tangency.seeding import Draw

SHAPE = (2, 11, 13)


class Recorder(nn.Module):
    """Remembers the images that it is shown."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.module(x)


def setting(n, norm="none"):
    model = build("convnet", SHAPE, 5, seed=1, channels=(3, 5, 7), norm=norm).double()
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.arange(n) % 5, Draw(3, torch.arange(n), "test")


def per_image(delta):
    return delta.flatten(1).square().sum(1).sqrt()


def test_the_published_budget_is_shared_by_the_batch_and_the_corrected_is_each_images_own():
    for n in (3, 13):
        model, x, y, draw = setting(n)
        legacy, _ = pags_pgd(model, x, y, 2.0, draw=draw)
        assert float((legacy - x).norm()) == pytest.approx(2.0)
        assert float(per_image(legacy - x).square().mean().sqrt()) == pytest.approx(2.0 / n**0.5)
        corrected = pgd(model, x, y, 2.0, draw=draw, bounds=None).images
        assert per_image(corrected - x).tolist() == pytest.approx([2.0] * n, rel=1e-3)


def test_published_perturbation_of_an_image_depends_on_its_neighbours():
    model, x, y, draw = setting(7)
    together, _ = pags_pgd(model, x, y, 2.0, draw=draw)
    alone, _ = pags_pgd(model, x[:1], y[:1], 2.0, draw=Draw(3, draw.ids[:1], "test"))
    assert float((together[0] - alone[0]).norm()) > 0.5


def test_published_start_brightens_and_has_half_the_length_and_is_not_clipped():
    model, x, y, draw = setting(7)
    recorder = Recorder(model)
    images, _ = pags_pgd(recorder, x, y, 40.0, steps=4, draw=draw)
    start = recorder.seen[0] - x
    assert bool((start >= 0).all())
    assert float(start.norm()) == pytest.approx(20.0)
    assert float(images.max()) > 1
    recorder.seen.clear()
    pgd(recorder, x, y, 1.0, draw=draw)
    corrected = recorder.seen[0] - x
    assert 0.3 < float((corrected < 0).double().mean()) < 0.7
    assert all(float(seen.min()) >= 0 and float(seen.max()) <= 1 for seen in recorder.seen)


def test_published_step_is_twice_epsilon_over_steps_along_the_batch_gradient():
    model, x, y, draw = setting(7)
    recorder = Recorder(model)
    pags_pgd(recorder, x, y, 1.0, steps=100, draw=draw)
    steps = [float((after - before).norm()) for before, after in zip(recorder.seen, recorder.seen[1:], strict=False)]
    assert steps[:5] == pytest.approx([0.02] * 5)


def test_published_attack_moves_the_running_statistics_and_the_corrected_does_not():
    for attack, updates in ((pags_pgd, 10), (pgd, 0)):
        model, x, y, draw = setting(7, norm="batch")
        model.train()
        attack(model, x, y, 0.5, steps=10, draw=draw)
        assert int(model.module.features[1].num_batches_tracked) == updates


def test_published_attack_without_a_gradient_is_nan():
    class Blind(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * 0

    _, x, y, draw = setting(3)
    images, _ = pags_pgd(Blind(), x, y % 3, 0.5, draw=draw)
    assert bool(images.isnan().all())
    assert bool(pgd(Blind(), x, y % 3, 0.5, draw=draw).stalled.all())


def test_wrong_arguments_are_named():
    model, x, y, draw = setting(3)
    for epsilon, steps in ((-1.0, 3), (float("nan"), 3), (1.0, 0)):
        with pytest.raises(NumericsError, match="pags_pgd"):
            pags_pgd(model, x, y, epsilon, steps, draw=draw)
