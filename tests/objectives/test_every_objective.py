"""What holds for every objective: independence of the batch, exact resume, low precision, no side effects."""

import dataclasses

import pytest
import torch
from torch import nn

from objective_support import complete
from tangency.models import build
from tangency.objectives import OBJECTIVES
from tangency.seeding import Draw
from tangency.tensors import read_tensors
from tangency.training import TrainConfig, train
from tangency.types import LabelledImages

N, SHAPE, CLASSES = 7, (2, 11, 13), 5
NAMES = [name for name in OBJECTIVES.own if name != "standard"]
# Their loss is a cross-entropy at other images, in the mode the model is in; the others add a penalty to one.
WHOLE = ["noise_augmentation", "pgd_l2", "pgd_l2_mixed", "pgd_linf", "tangent_attack"]
PENALTIES = [name for name in NAMES if name not in WHOLE]
# Their derivative leaves out how attacked or stepped-to images move with the weights.
HELD = ["pgd_l2", "pgd_l2_mixed", "pgd_linf", "tangent_attack", "trades", "curvature", "finite_difference_gradient"]
QUICK = {name: {"steps": 2} for name in ("pgd_l2", "pgd_l2_mixed", "pgd_linf", "tangent_attack", "trades")}


def made(name, strength):
    return complete(name, strength, **QUICK.get(name, {}))


def setting(norm="none", dtype=torch.float64):
    model = build("convnet", SHAPE, CLASSES, seed=1, channels=(3, 5, 7), norm=norm).to(dtype).train()
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return model, x, torch.arange(N) % CLASSES, Draw(3, torch.arange(N), "test")


def listed(draw, index):
    return Draw(draw.seed, draw.ids[index], draw.purpose)


@pytest.mark.parametrize("name", PENALTIES)
def test_under_batch_normalisation_a_penalty_does_not_see_the_other_images(name):
    """Strength 2 less strength 1 is the penalty: of three images the same alone as among seven, in another order."""

    def penalties(index):
        losses = []
        for strength in (2.0, 1.0):
            model, x, y, draw = setting("batch")
            model.module.features[1].running_var *= 2  # unlike any batch
            losses.append(made(name, strength).losses(model, x[index], y[index], listed(draw, index)))
        return losses[0] - losses[1]

    few = torch.tensor([4, 0, 2])
    alone, among = penalties(few), penalties(torch.arange(N))[few]
    torch.testing.assert_close(alone, among, rtol=1e-8, atol=1e-10)
    assert (alone.abs() > 1e-6).all()


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_trains_as_on_a_copy_in_eval_mode(name):
    """The pass in train mode that comes after a penalty changes no derivative of it."""

    def gradients(train):
        steep = []
        for strength in (2.0, 1.0):
            model, x, y, draw = setting("batch")
            losses = made(name, strength).losses(model.train(train), x, y, draw)
            steep.append(torch.autograd.grad(losses.mean(), list(model.parameters()), materialize_grads=True))
        return [one - two for one, two in zip(*steep, strict=True)]

    for mine, wanted in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", WHOLE)
def test_in_eval_mode_losses_under_batch_normalisation_are_those_of_each_image(name):
    model, x, y, draw = setting("batch")
    model.eval()
    few = torch.tensor([4, 0, 2])
    together = made(name, 0.3).losses(model, x, y, draw)[few]
    torch.testing.assert_close(made(name, 0.3).losses(model, x[few], y[few], listed(draw, few)), together)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in HELD])
def test_the_derivative_is_that_of_finite_differences(name):
    """Along one direction of all weights."""
    model, x, y, draw = setting()
    objective, weights = made(name, 1.5), list(model.parameters())
    generator = torch.Generator().manual_seed(4)
    directions = [torch.randn(w.shape, generator=generator).double() for w in weights]
    steep = torch.autograd.grad(objective.losses(model, x, y, draw).mean(), weights, materialize_grads=True)
    values = []
    for step in (1e-6, -2e-6):
        for w, direction in zip(weights, directions, strict=True):
            w.data += step * direction
        values.append(float(objective.losses(model, x, y, draw).mean().detach()))
    slope = sum(float((g * direction).sum()) for g, direction in zip(steep, directions, strict=True))
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_an_exception_in_the_model_leaves_everything_as_it_was(name):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.last, self.calls = nn.BatchNorm2d(2), nn.Linear(286, CLASSES), 0

        def forward(self, x):
            self.calls += 1
            if self.calls == (1 if name == "noise_augmentation" else 2):
                raise KeyError("in the model")
            return self.last(self.norm(x).flatten(1))

    _, x, y, draw = setting()
    model = Fails().double().train()
    mean = model.norm.running_mean
    with pytest.raises(KeyError):
        made(name, 0.3).losses(model, x, y, draw)
    assert all(part.training for part in model.modules())
    assert model.norm.running_mean is mean
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(part._forward_pre_hooks for part in model.modules())


def data(n=45):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 1, 9, 8), generator=generator).to(torch.uint8)
    return LabelledImages(pixels, torch.arange(n) % 3, ("a", "b", "c"))


CONFIG = TrainConfig(epochs=2, batch_size=20, learning_rate=0.02, validation_fraction=0.2, flip=True, crop=1)


def trained(name, folder, config=CONFIG, **how):
    net = build("convnet", (1, 9, 8), 3, seed=0, channels=(3, 4, 5), norm="batch")
    return train(net, data(), made(name, 0.2), config, folder, **how)


class Stop(Exception):
    pass


@pytest.mark.parametrize("name", NAMES)
def test_a_training_stopped_after_every_step_ends_with_the_same_weights(name, tmp_path):
    """Bit for bit, batch normalisation and augmentation included."""
    trained(name, tmp_path / "whole")
    stops, result, always = 0, None, dataclasses.replace(CONFIG, checkpoint_seconds=0.0)

    def stop(step):
        raise Stop

    while result is None:
        try:
            result = trained(name, tmp_path / "stopped", always, on_step=stop)
        except Stop:
            stops += 1
            assert stops <= 4, "does not get on"
    assert stops == 4
    whole, stopped = (read_tensors(tmp_path / folder / "model.safetensors")[0] for folder in ("whole", "stopped"))
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_trains_near_float32(name, tmp_path):
    coarse = trained(name, tmp_path / "coarse", dataclasses.replace(CONFIG, precision="bfloat16"))
    exact = trained(name, tmp_path / "exact")
    assert coarse.outcome == exact.outcome == "ok"
    losses = [float(result.history[-1]["train_loss"]) for result in (coarse, exact)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
