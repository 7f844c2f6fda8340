"""Training and evaluation of classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.autodiff import input_gradient, undisturbed
from tangency.models import Classifier, load_weights, save_classifier
from tangency.objectives import Objective
from tangency.seeding import Draw, permutation
from tangency.training.batches import Minibatch
from tangency.training.checkpoint import Row
from tangency.training.config import TrainConfig
from tangency.training.engine import run_job
from tangency.training.job import Step, Training, TrainingJob
from tangency.training.result import TrainingRecord, TrainingResult, finite
from tangency.types import LabelledImages

TRAIN_ACCURACY_IMAGES = 1000


@dataclass(frozen=True)
class TrainResult(TrainingResult):
    """A finished training of a classifier; more fields in `TrainingResult`.

    Args:
        classifier: with the last weights, or the last finite ones of a diverged run; in eval mode.
    """

    classifier: Classifier

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.record.epoch

    @property
    def step(self) -> int:
        """Steps of the next epoch that a diverged run took before it diverged; else 0."""
        return self.record.step

    @property
    def best_accuracy(self) -> float | None:
        """The highest validation accuracy; None without validation images."""
        return self.record.best_merit


@dataclass(frozen=True)
class Evaluation:
    """Means over the images: cross-entropy, accuracy in [0, 1], ‖∇_x cross-entropy‖₂ per unit of pixel range."""

    loss: float
    accuracy: float
    gradient_norm: float


def evaluate(
    classifier: Classifier, data: LabelledImages, index: Tensor, device: torch.device, batch_size: int = 256
) -> Evaluation:
    """Evaluate in eval mode on the images `index` of the data; NaN for no images."""
    totals = torch.zeros(3, dtype=torch.float64)
    for ids in torch.split(index, batch_size):
        x, y = data.images(ids).to(device), data.labels[ids].to(device)
        with undisturbed(classifier), torch.no_grad():
            logits = classifier(x)
        steepness = input_gradient(classifier, x, y, "loss").log_norm.exp()
        losses = F.cross_entropy(logits, y, reduction="none")
        values = torch.stack([losses, (logits.argmax(1) == y).to(losses), steepness])
        totals += values.to("cpu", torch.float64).sum(1)
    loss, accuracy, gradient_norm = (totals / len(index)).tolist()
    return Evaluation(loss, accuracy, gradient_norm)


class _ClassifierJob(TrainingJob):
    """A classifier and the objective that it minimises; the best has the highest validation accuracy."""

    files = "model.safetensors", "best.safetensors"
    in_place = True

    def __init__(self, classifier: Classifier, objective: Objective) -> None:
        self.classifier, self.objective = classifier, objective
        self.module = classifier.module

    def to(self, device: torch.device | str) -> None:
        self.classifier.to(device)

    def losses(self, batch: Minibatch, draw: Draw) -> Tensor:
        return self.objective.losses(self.classifier, batch.x, batch.y, draw)

    def evaluate(
        self, training: Training, index: Tensor, validation: LabelledImages, held: Tensor, device: torch.device
    ) -> tuple[Row, float]:
        chosen = permutation(len(index), training.config.seed, "train accuracy")[:TRAIN_ACCURACY_IMAGES]
        seen = evaluate(self.classifier, training.data, index[chosen], device)
        held_out = evaluate(self.classifier, validation, held, device)
        row: Row = {
            "train_accuracy": finite(seen.accuracy),
            "validation_loss": finite(held_out.loss),
            "validation_accuracy": finite(held_out.accuracy),
            "gradient_norm": finite(held_out.gradient_norm),
        }
        return row, held_out.accuracy

    def save(self, path: Path, record: TrainingRecord) -> None:
        provenance = {**self.classifier.card.provenance, "training": record.to_json()}
        self.classifier.card = replace(self.classifier.card, provenance=provenance)
        save_classifier(self.classifier, path)

    def provenance(self, header: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
        provenance: Mapping[str, Any] = header.get("provenance", {})
        return provenance

    def load(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        load_weights(self.classifier, path)


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
        objective: from `tangency.objectives.make`, with its guides bound.
        config: how to train.
        folder: gets model.safetensors (last), best.safetensors (highest validation accuracy) and history.parquet;
            of this training alone.
        device: where to train; under `accelerate launch` each process takes its own.
        validation: images for the history and for `best`; by default config.validation_fraction of `data`.
        on_step: called after each step; an exception from it stops the run.

    Raises:
        DataError, ModelError: no images, labels out of range, images or classes that do not fit the classifier.
        RunError: the folder belongs to another training.
        SpecError: a guide of the objective is a mere reference.

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
    training = Training(data, config, Path(folder), device, validation, on_step)
    card = asdict(classifier.card)
    del card["provenance"]
    training.check_images("the classifier", classifier.card.shape, classifier.classes)
    objective.check_guided()
    settings = {"objective": objective.identity}
    result = run_job(_ClassifierJob(classifier, objective), training, settings | {"card": card}, settings)
    return TrainResult(result.record, result.history, result.folder, classifier.eval())
