"""What crosses between CPU and GPU in the hot loops: every place is listed, with why it must."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pretended_device import DEVICE, PretendedCuda
from support import make_mixture
from tangency.measures import MeasureConfig, measure
from tangency.models import build
from tangency.objectives import make
from tangency.score import load_score
from tangency.tangents import Ground, open_tangents
from tangency.training import TrainConfig, train
from tangency.types import Dataset, LabelledImages

NAME, SHAPE, CLASSES = str(DEVICE), (1, 8, 8), ("a", "b", "c")
STEP, UPDATE = "training/engine.py:_TrainingRun._step", "training/engine.py:_TrainingRun._update"
TRAINING = {
    ("to cuda", "devices.py:moved"): 3,  # pixels, labels and indices of the batch, through pinned memory
    ("wait", UPDATE): 1,  # the loss and the gradient's norm: a step that is not finite is not taken
    ("wait", STEP): 1,  # the weights after it: a step whose weights are not finite is undone
}
ATTACK = {
    ("wait", "attacks/pgd.py:_check"): 2,  # the range of the images, once an attack
    ("wait", "attacks/pgd.py:_budget"): 2,  # that budget and length are finite, once an attack
}
# Of a batch of measured images: {file of the package: why}. Places in a data set are of the CPU, as its images are.
MEASURING = {
    "measures/run.py": "which images are next",
    "measures/comparison/source.py": "the images of the pool",
    "measures/comparison/targets.py": "the images of partners",
    "measures/comparison/frames.py": "the images of partners",
    "measures/comparison/held.py": "which images' values are held already",
    "data/search.py": "the nearest neighbours' images",
    "tangents/local_pca.py": "the nearest neighbours' images",
    "tangents/space.py": "a vector drawn on the CPU, the same on every device; whether all share one space",
    "tangents/spectrum.py": "whether a basis must be made orthonormal again",
    "data/partners.py": "whether the indices are of the pool",
    "measures/batch.py": "whether the logits are finite",
    "numerics.py": "whether a noise level is negative",
    "score/closed/classwise.py": "whether the labels are classes",
    "score/derived.py": "whether a score is finite, and σ above 0",
    "types.py": "whether images and labels are in their range",
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    x, y = make_mixture(SHAPE, 3, 2, 3, noise=0.003).sample(126, 0)
    parts = (LabelledImages(x[p].clamp(0, 1).float(), y[p], CLASSES) for p in (slice(96), slice(96, 126)))
    return Dataset("drawn", *parts)


@pytest.mark.parametrize(("objective", "expected"), [("gradient_norm", TRAINING), ("pgd_l2", TRAINING | ATTACK)])
def test_a_training_step(objective: str, expected: dict[tuple[str, str], int], data: Dataset, tmp_path: Path) -> None:
    def counted(batch_size: int) -> Counter[tuple[str, str]]:
        config = TrainConfig(epochs=1, batch_size=batch_size, flip=True, crop=1, clip_norm=1.0, validation_fraction=0)
        net = build("convnet", SHAPE, CLASSES, seed=0, channels=(4, 4, 4))
        with PretendedCuda() as mode:
            train(net, data.train, make(objective, 0.1), config, tmp_path / str(batch_size), device=NAME)
        return mode.transfers

    more = counted(48)  # two steps, and three
    assert counted(32) - more == Counter(expected)


def test_a_measured_batch(data: Dataset) -> None:
    def counted(size: int) -> Counter[tuple[str, str]]:
        config = MeasureConfig(metrics=("cosine", "ssim"), sigmas=(0.3,), directions=1)
        with PretendedCuda() as mode:
            x, y = data.test.images(slice(4)).to(NAME), data.test.labels[:4].to(NAME)
            net, closed = build("convnet", SHAPE, CLASSES, seed=0).to(NAME), load_score("gaussian", data, NAME)
            spaces = open_tangents("local-pca?rank=3&neighbours=9", Ground(data, NAME, closed))
            mode.transfers.clear()
            measure(net, x, y, train_data=data.train, score=closed, tangents=spaces, config=config, batch_size=size)
        return mode.transfers

    once = counted(4)
    more = counted(2) - once
    assert {place.partition(":")[0] for _, place in more} <= MEASURING.keys()
    assert not [kind for kind, _ in more if kind == "hidden"]
    assert sum(more.values()) <= 150
