"""The parts of training that are plain functions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tangency.errors import SpecError
from tangency.models import build
from tangency.seeding import Draw
from tangency.training import TrainConfig, evaluate, learning_rate
from tangency.training.batches import augment, batch_bounds, load_batch, split
from tangency.types import LabelledImages


def images(n=23, shape=(2, 11, 13), classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8)
    return LabelledImages(pixels, torch.arange(n) % classes, tuple("abcdefgh"[:classes]))


def test_the_cosine_rises_linearly_and_falls_to_zero():
    config = TrainConfig(learning_rate=2.0, warmup=0.2, schedule="cosine")
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(2.0 / 20)
    assert rates[9] == pytest.approx(0.5 * 2.0 * 0.5 * (1 + math.cos(math.pi * 0.09)))
    assert rates[50] == pytest.approx(1.0)
    assert rates[99] < 0.001


def test_the_step_schedule_is_the_papers_and_the_constant_is_constant():
    config = TrainConfig(learning_rate=1.0, warmup=0.0, schedule="step")
    rates = [learning_rate(config, step, 200) for step in (0, 149, 150, 174, 175, 199)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert learning_rate(TrainConfig(warmup=0.0, schedule="constant", learning_rate=0.3), 77, 100) == 0.3
    thirds = TrainConfig(learning_rate=1.0, warmup=0.0, schedule="thirds")
    assert [round(learning_rate(thirds, step, 90), 9) for step in (0, 29, 30, 59, 60, 89)] == [
        1,
        1,
        0.1,
        0.1,
        0.01,
        0.01,
    ]


@given(n=st.integers(1, 200), batch_size=st.integers(1, 60))
def test_batches_hold_every_image_once_and_none_is_a_lonely_rest(n, batch_size):
    bounds = batch_bounds(n, batch_size)
    assert [i for start, stop in bounds for i in range(start, stop)] == list(range(n))
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) <= batch_size + 1
    assert batch_size == 1 or n == 1 or 1 not in sizes


def test_the_split_takes_the_same_share_of_each_class():
    labels = torch.tensor([0] * 40 + [1] * 20 + [2] * 1)
    data = LabelledImages(torch.zeros(61, 1, 2, 2), labels, ("a", "b", "c"))
    train, held = split(data, 0.1, seed=3)
    assert torch.bincount(labels[held], minlength=3).tolist() == [4, 2, 0]
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(61))
    assert torch.equal(held, split(data, 0.1, seed=3)[1])
    assert not torch.equal(held, split(data, 0.1, seed=4)[1])
    assert len(split(data, 0.0, seed=3)[1]) == 0
    assert torch.bincount(labels[split(data, 0.99, seed=3)[0]], minlength=3).min() == 1


def test_augmentation_is_the_slow_loop_over_images():
    x = torch.rand(19, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    draw = Draw(1, torch.arange(19), "t")
    got = augment(x, draw, flip=True, crop=2)
    mirrored = draw.of("flip").uniform() < 0.5
    down, right = draw.of("crop", "h").integers(5), draw.of("crop", "w").integers(5)
    for i in range(19):
        padded = torch.zeros(2, 9, 11)
        padded[:, 2:7, 2:9] = x[i].flip(2) if mirrored[i] else x[i]
        wanted = padded[:, down[i] : down[i] + 5, right[i] : right[i] + 7]
        assert torch.equal(got[i], wanted)
    assert 0 < int(mirrored.sum()) < 19
    assert len(set(zip(down.tolist(), right.tolist(), strict=True))) > 5, "each image has a shift of its own"
    assert torch.equal(augment(x, draw, flip=False, crop=0), x)


def test_an_image_is_augmented_alike_in_any_batch_but_anew_each_epoch():
    data, config, cpu = images(), TrainConfig(flip=True, crop=3), torch.device("cpu")
    many = load_batch(data, torch.arange(23), config, 4, cpu)
    few = load_batch(data, torch.tensor([20, 3]), config, 4, cpu)
    assert torch.equal(few.x, many.x[[20, 3]])
    assert few.ids.tolist() == [20, 3]
    assert torch.equal(few.y, data.labels[[20, 3]])
    assert not torch.equal(load_batch(data, torch.arange(23), config, 5, cpu).x, many.x)


def test_evaluation_is_the_mean_over_single_images():
    data, net = images(), build("convnet", (2, 11, 13), 3, channels=(3, 5, 7), norm="batch").train()
    index = torch.tensor([1, 4, 9, 16, 22])
    got = evaluate(net, data, index, torch.device("cpu"), batch_size=2)
    assert net.training
    net.eval()
    losses, right, norms = [], 0, []
    for i in index.tolist():
        x = data.images(slice(i, i + 1)).requires_grad_(True)
        logits = net(x)
        loss = -logits.log_softmax(1)[0, data.labels[i]]
        losses.append(float(loss.detach()))
        norms.append(float(torch.autograd.grad(loss, x)[0].norm()))
        right += int(logits.argmax(1) == data.labels[i])
    assert got.loss == pytest.approx(sum(losses) / 5, rel=1e-5)
    assert got.gradient_norm == pytest.approx(sum(norms) / 5, rel=1e-4)
    assert got.accuracy == pytest.approx(right / 5)
    assert math.isnan(evaluate(net, data, index[:0], torch.device("cpu")).accuracy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimiser": "adam"}, "Did you mean 'adamw'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"momentum": 1.0}, "momentum"),
        ({"warmup": 1.0}, "warmup"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"checkpoint_seconds": -1.0}, "checkpoint_seconds"),
        ({"crop": -1}, "crop"),
        ({"clip_norm": 0.0}, "clip_norm"),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises(SpecError, match=message):
        TrainConfig(**change)
