"""Training of classifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangency.errors import DataError, ModelError
from tangency.models import Classifier
from tangency.objectives import Objective
from tangency.seeding import Draw, permutation
from tangency.tensors import digest
from tangency.training.batches import Batch
from tangency.training.checkpoint import Row, fingerprint
from tangency.training.config import TrainConfig
from tangency.training.engine import Job, Step, run_job
from tangency.training.evaluate import evaluate
from tangency.training.result import BEST, MODEL, TrainResult, as_result, finished, finite, save_with_record
from tangency.types import LabelledImages, check_labels

TRAIN_ACCURACY_IMAGES = 1000


class _ClassifierJob(Job):
    """A classifier and the objective that it minimises; the best has the highest validation accuracy."""

    files = MODEL, BEST

    def __init__(self, classifier: Classifier, objective: Objective, seed: int) -> None:
        self.classifier, self.objective, self.seed = classifier, objective, seed
        self.module = classifier.module

    def to(self, device: torch.device) -> None:
        self.classifier.to(device)

    def losses(self, batch: Batch, draw: Draw) -> Tensor:
        return self.objective.losses(self.classifier, batch.x, batch.y, draw)

    def evaluate(
        self, data: LabelledImages, index: Tensor, validation: LabelledImages, held: Tensor, device: torch.device
    ) -> tuple[Row, float]:
        chosen = permutation(len(index), self.seed, "train accuracy")[:TRAIN_ACCURACY_IMAGES]
        seen = evaluate(self.classifier, data, index[chosen], device)
        held_out = evaluate(self.classifier, validation, held, device)
        row: Row = {
            "train_accuracy": finite(seen.accuracy),
            "validation_loss": finite(held_out.loss),
            "validation_accuracy": finite(held_out.accuracy),
            "gradient_norm": finite(held_out.gradient_norm),
        }
        return row, held_out.accuracy

    def stepped(self, images: int, batch: int) -> None:
        """Nothing follows a step."""

    def save(self, path: Path, record: dict[str, Any]) -> None:
        save_with_record(self.classifier, path, record)


def train(
    classifier: Classifier,
    data: LabelledImages,
    objective: Objective,
    config: TrainConfig,
    folder: Path | str,
    *,
    device: torch.device | str = "cpu",
    validation: LabelledImages | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> TrainResult:
    """Minimise the mean of objective.losses, (1/N) Σ ℓ_i(θ); the classifier's weights θ change in place.

    A run that is stopped, at any moment and in any way, goes on from its last checkpoint when called again with the
    same arguments, and ends with the weights of an uninterrupted run (bit for bit on one CPU thread). A finished run
    is not repeated. A loss, gradient or weight that is not finite ends the run with outcome "diverged" and the last
    finite weights. Layers that draw random numbers (dropout) are seeded for each step; the caller's random state is
    left as it was.

    Args:
        classifier: with its initial weights; moved to `device`.
        data: training images, of the classifier's shape and classes.
        objective: from `tangency.objectives.make`.
        config: how to train.
        folder: gets model.safetensors (last), best.safetensors (highest validation accuracy) and history.parquet;
            of this training alone.
        device: where to train; under `accelerate launch` each process takes its own.
        validation: images for the history and for `best`; by default config.validation_fraction of `data`.
        on_step: called after each step; an exception from it stops the run.

    Raises:
        DataError, ModelError: no images, labels out of range, images or classes that do not fit the classifier.
        RunError: the folder belongs to another training.

    Example:
        >>> import tempfile, tangency
        >>> from tangency.models import build
        >>> data = tangency.load_data("world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10")
        >>> config, objective = TrainConfig(epochs=1, batch_size=20), tangency.objective("gradient_norm", 0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = train(build("convnet", (1, 8, 8), 2), data.train, objective, config, folder)
        >>> result.outcome, len(result.history)
        ('ok', 1)
    """
    _check_data(classifier, data, "training images")
    if validation is not None:
        _check_data(classifier, validation, "validation images")
    folder = Path(folder)
    identity = {
        "fingerprint": _fingerprint(classifier, data, validation, objective, config),
        "initial": digest(classifier.module.state_dict()),
    }
    earlier = finished(folder, classifier, identity)
    if earlier is not None:
        classifier.to(device)
        return earlier
    job, settings = _ClassifierJob(classifier, objective, config.seed), {"objective": objective.identity}
    record, history = run_job(job, data, config, folder, identity, settings, device, validation, on_step)
    return as_result(classifier, record, history, folder)


def _fingerprint(
    classifier: Classifier,
    data: LabelledImages,
    validation: LabelledImages | None,
    objective: Objective,
    config: TrainConfig,
) -> str:
    """SHA-256 of all that decides the result of a training but the initial weights."""
    card = asdict(classifier.card)
    del card["provenance"]
    return fingerprint(config, data, validation, {"objective": objective.identity, "card": card})


def _check_data(classifier: Classifier, data: LabelledImages, what: str) -> None:
    if not len(data):
        raise DataError(f"{what}: '{data.name}' has no images; check the reference, the split or the limit.")
    if data.shape != classifier.card.shape or len(data.classes) != classifier.classes:
        raise ModelError(
            f"{what}: '{data.name}' has images {data.shape} in {len(data.classes)} classes, the classifier takes "
            f"{classifier.card.shape} in {classifier.classes}. Build the classifier for this data, or resize them."
        )
    check_labels(data.labels, len(data.pixels), classifier.classes, what)
