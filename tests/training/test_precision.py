"""The precision of a training: set explicitly, part of the identity, and at its default that of older versions."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pretended_device import CUDA, PretendedCuda, place
from tangency.devices import PRECISIONS, arithmetic, moved
from tangency.errors import SpecError
from tangency.measures import MeasureConfig, measure
from tangency.models import build
from tangency.objectives import make
from tangency.study import parse_spec
from tangency.study.plan import plan_trials
from tangency.training import TrainConfig, TrainResult, train
from tangency.training.checkpoint import fingerprint
from tangency.types import LabelledImages
from tangency.worlds import load_dataset

WORLD = "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10"
CUDNN: Any = torch.backends.cudnn


def flags() -> tuple[str, str, str]:
    return torch.backends.cuda.matmul.fp32_precision, CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision


def trained(folder: Path, precision: str, **how: Any) -> TrainResult:
    data = load_dataset(WORLD).train
    config = TrainConfig(epochs=2, batch_size=20, precision=precision)
    return train(
        build("convnet", data.shape, data.classes, seed=0), data, make("gradient_norm", 0.1), config, folder, **how
    )


def test_flags_are_set_and_put_back() -> None:
    before = flags()
    with arithmetic("tf32"):
        assert flags() == ("tf32",) * 3
        with contextlib.suppress(KeyError), arithmetic():
            assert flags() == ("ieee",) * 3
            raise KeyError
        assert flags() == ("tf32",) * 3
    with arithmetic("bfloat16"):
        assert flags() == ("ieee",) * 3
    assert flags() == before


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_training_says_its_own(precision: str, tmp_path: Path) -> None:
    seen = set()
    with arithmetic("float32" if precision == "tf32" else "tf32"):  # whatever was set before
        trained(tmp_path, precision, on_step=lambda step: seen.add(flags()))
    assert seen == {("tf32" if precision == "tf32" else "ieee",) * 3}


def test_measuring_is_in_float32() -> None:
    data, seen = load_dataset(WORLD), set()

    def attributed(model: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
        seen.add(flags())
        return x.square()

    config = MeasureConfig(metrics=("cosine",), directions=1, sigmas=(0.5,))
    model, images = build("convnet", data.test.shape, data.test.classes, seed=0), data.test.images()
    with arithmetic("tf32"):
        given = {"train_data": data.train, "score": "gaussian", "attributions": {"a": attributed}}
        measure(model, images, data.test.labels, config=config, **given)
    assert ("ieee",) * 3 in seen


def test_bfloat16_is_coarser_but_near(tmp_path: Path) -> None:
    exact, coarse = (trained(tmp_path / name, name) for name in ("float32", "bfloat16"))
    assert coarse.outcome == "ok"
    assert {p.dtype for p in coarse.classifier.parameters()} == {torch.float32}
    losses = [float(result.history[-1]["train_loss"] or 0) for result in (exact, coarse)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert coarse.record.config["precision"] == "bfloat16"
    assert "precision" not in exact.record.config


def test_identity() -> None:
    data = LabelledImages(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]), ("a", "b"))
    config = {name: value for name, value in TrainConfig().plain().items() if name != "checkpoint_seconds"}
    assert config == {
        "epochs": 12,
        "batch_size": 128,
        "learning_rate": 5e-3,
        "weight_decay": 1e-2,
        "optimiser": "adamw",
        "momentum": 0.9,
        "schedule": "cosine",
        "warmup": 0.1,
        "seed": 0,
        "validation_fraction": 0.05,
        "flip": False,
        "crop": 0,
        "clip_norm": None,
    }  # what stood in fingerprints before there was a precision
    prints = {name: fingerprint(TrainConfig(precision=name), data, None, {}) for name in PRECISIONS}
    assert prints["float32"] == "5d83f8ed0909545e49714bc596c34fec9afd31427cb7fee0eac255623d0074a8"
    assert len(set(prints.values())) == 3


def test_identity_of_trials_and_specs() -> None:
    specs = [
        parse_spec({"data": WORLD, "score": "exact", "sweep": [{"objective": "standard"}], "train": train}, "test")
        for train in ({}, {"precision": "float32"}, {"precision": "bfloat16"})
    ]
    data = load_dataset(WORLD)
    hashes = [(spec.digest(), *(trial.train_hash for trial in plan_trials(spec, data, ""))) for spec in specs]
    assert hashes[0] == hashes[1]
    trained = [number for number, (a, b) in enumerate(zip(hashes[0], hashes[2], strict=True)) if a != b]
    assert len(hashes[0]) - len(trained) == 1  # the untrained control is the same network


def test_an_unknown_precision() -> None:
    with pytest.raises(SpecError, match="bfloat16"):
        TrainConfig(precision="bfloat61")


def test_batches_go_through_pinned_memory() -> None:
    with PretendedCuda() as mode:
        x = torch.arange(6, dtype=torch.uint8)
        assert moved(x, "cpu") is x
        went = moved(x, "cuda:0")
        assert place(went) == CUDA
        assert went.tolist() == list(range(6))
        assert moved(went, "cuda:0") is went
        assert mode.pinned == 1
