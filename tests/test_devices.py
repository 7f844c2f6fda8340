"""Every device of this machine gives the numbers of the CPU, to rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support import make_mixture
from tangency.attacks import pgd
from tangency.devices import resolve_device
from tangency.errors import SpecError
from tangency.measures import MeasureConfig, Rows, measure
from tangency.models import build
from tangency.objectives import make
from tangency.score import MixtureScore
from tangency.seeding import Draw
from tangency.tangents import MixtureTangents
from tangency.training import TrainConfig, train
from tangency.types import LabelledImages

SHAPE = (1, 11, 13)


def world() -> tuple[object, LabelledImages]:
    mixture = make_mixture(SHAPE, 3, 2, 4, noise=0.003)
    x, y = mixture.sample(23, 0)
    return mixture, LabelledImages(x.clamp(0, 1).float(), y, ("a", "b", "c"))


def measured(device: str) -> Rows:
    mixture, data = world()
    moved = mixture.to(device)
    model = build("convnet", SHAPE, data.classes, seed=0).to(device)
    return measure(
        model,
        data.images().to(device),
        data.labels.to(device),
        train_data=data,
        score=MixtureScore(moved),
        tangents=MixtureTangents(moved),
        config=MeasureConfig(sigmas=(0.5,), directions=1),
    )


def test_rows(device: str) -> None:
    expected, found = measured("cpu"), measured(device)
    for key, values in expected.columns.items():
        torch.testing.assert_close(found[key].cpu(), values, rtol=1e-3, atol=1e-4, equal_nan=True)


def test_attack(device: str) -> None:
    _, data = world()
    images = []
    for place in ("cpu", device):
        model = build("convnet", SHAPE, data.classes, seed=0).to(place)
        draw = Draw(0, torch.arange(23, device=place), "attack")
        images.append(pgd(model, data.images().to(place), data.labels.to(place), 0.5, draw=draw).images.cpu())
    torch.testing.assert_close(images[0], images[1], rtol=0, atol=1e-3)


def test_training(device: str, tmp_path: Path) -> None:
    _, data = world()
    losses = []
    for place in ("cpu", device):
        model = build("convnet", SHAPE, data.classes, seed=0)
        folder = tmp_path / place.replace(":", "-")
        config = TrainConfig(epochs=2, batch_size=8)
        losses.append(train(model, data, make("gradient_norm", 0.1), config, folder, device=place).history[-1])
    assert losses[0]["train_loss"] == pytest.approx(losses[1]["train_loss"], rel=1e-3)


def test_devices_that_are_not_there_are_named() -> None:
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(SpecError, match="expected auto, cpu, cuda or cuda:N"):
        resolve_device("gpu")
    with pytest.raises(SpecError, match="this machine has"):
        resolve_device("cuda:99")
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto") == expected
