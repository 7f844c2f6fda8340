"""The one loop in which the weights of a classifier change."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tangency.errors import DataError, ModelError
from tangency.files import journal, remove_leftovers
from tangency.models import Classifier
from tangency.objectives import Objective
from tangency.seeding import Draw, derive_seed, permutation
from tangency.tensors import digest
from tangency.training import processes
from tangency.training.batches import batch_bounds, load_batch, refuse_lone_images, split
from tangency.training.checkpoint import fingerprint, restore_checkpoint, save_checkpoint
from tangency.training.config import TrainConfig, learning_rate
from tangency.training.evaluate import evaluate
from tangency.training.result import (
    BEST,
    CHECKPOINT,
    HISTORY,
    MODEL,
    TrainResult,
    as_record,
    as_result,
    finished,
    finite,
    save_with_record,
    write_history,
)
from tangency.types import LabelledImages, check_labels

if TYPE_CHECKING:
    from accelerate import Accelerator

TRAIN_ACCURACY_IMAGES = 1000


@dataclass(frozen=True)
class Step:
    """What `on_step` is told after each step: counted from one."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float


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
    """Minimise the mean of objective.losses; the classifier's weights change in place.

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
    """
    _check_data(classifier, data, "training images")
    if validation is not None:
        _check_data(classifier, validation, "validation images")
    folder = Path(folder)
    identity = {
        "fingerprint": fingerprint(classifier, data, validation, objective, config),
        "initial": digest(classifier.module.state_dict()),
    }
    earlier = finished(folder, classifier, identity)
    if earlier is not None:
        classifier.to(device)
        return earlier
    with _undone_if_stopped(classifier):
        run = _Run(classifier, data, objective, config, folder, identity, device, validation, on_step)
        with _own_random_state(run.device):
            return run.to_the_end()


class _Run:
    """One training in progress."""

    def __init__(
        self,
        classifier: Classifier,
        data: LabelledImages,
        objective: Objective,
        config: TrainConfig,
        folder: Path,
        identity: dict[str, str],
        device: torch.device | str,
        validation: LabelledImages | None,
        on_step: Callable[[Step], None] | None,
    ) -> None:
        self.accelerator: Accelerator = processes.accelerator_for(device)
        self.device = processes.device_of(self.accelerator, device)
        self.classifier = classifier.to(self.device)
        self.data, self.objective, self.config = data, objective, config
        self.folder, self.identity, self.on_step = folder, identity, on_step
        fraction = config.validation_fraction if validation is None else 0.0
        self.index, held = split(data, fraction, config.seed)
        self.validation = data if validation is None else validation
        self.held = held if validation is None else torch.arange(len(validation))
        self.bounds = batch_bounds(len(self.index), config.batch_size)
        if any(stop - start == 1 for start, stop in self.bounds):
            refuse_lone_images(classifier.train())
        self.parameters = [p for p in classifier.parameters() if p.requires_grad]
        self.optimiser = _optimiser(self.parameters, config)
        if self.accelerator.is_main_process and folder.exists():
            remove_leftovers(folder)
        checkpoint = folder / CHECKPOINT
        self.progress = restore_checkpoint(checkpoint, classifier.module, self.optimiser, identity)
        self.accelerator.wait_for_everyone()  # nobody writes before everybody has read
        self.clock = self.saved = time.monotonic()

    def to_the_end(self) -> TrainResult:
        while self.progress.epoch < self.config.epochs:
            if not self._epoch():
                return self._finish("diverged")
        return self._finish("ok")

    def _epoch(self) -> bool:
        """The rest of an epoch; False if it diverged."""
        progress = self.progress
        order = self.index[permutation(len(self.index), self.config.seed, "order", progress.epoch)]
        self.classifier.train()
        for start, stop in self.bounds[progress.step :]:
            loss = self._step(order[start:stop])
            if finite(loss) is None:
                return False
            progress.loss_sum += loss * (stop - start)
            progress.step += 1
            journal("train.step")
            if time.monotonic() - self.saved >= self.config.checkpoint_seconds:
                self._checkpoint()
            self._report(loss)
        self._end_of_epoch()
        return True

    def _step(self, ids: Tensor) -> float:
        """Change the weights by one batch; the mean loss, or NaN and no change where it leaves the finite numbers."""
        module = self.classifier.module
        before = {name: value.clone() for name, value in module.state_dict().items()}
        loss = self._update(ids)
        if finite(loss) is None or not bool(torch.isfinite(torch.nn.utils.get_total_norm(self.parameters))):
            module.load_state_dict(before)  # the running statistics of batch normalisation too
            return float("nan")
        return loss

    def _update(self, ids: Tensor) -> float:
        """One optimiser step; the mean loss, or NaN without a step where loss or gradient is not finite."""
        progress, config = self.progress, self.config
        _seed_layers(self.device, config.seed, progress.epoch, progress.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate(progress.step)
        own = processes.own_share(self.accelerator, ids)
        batch = load_batch(self.data, own, config, progress.epoch, self.device)
        self.optimiser.zero_grad(set_to_none=True)
        draw = Draw(config.seed, batch.ids, f"objective/epoch {progress.epoch}")
        loss = self.objective.losses(self.classifier, batch.x, batch.y, draw).sum() / len(ids)
        self.accelerator.backward(loss)
        total = processes.sum_gradients(self.accelerator, self.parameters, loss)
        processes.average_statistics(self.accelerator, self.classifier)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        length = torch.nn.utils.get_total_norm(gradients)
        if finite(float(total + 0 * length)) is None:
            return float("nan")
        if config.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, config.clip_norm, length)
        self.optimiser.step()
        return float(total)

    def _learning_rate(self, step: int) -> float:
        """Of a step of the present epoch, counted from zero."""
        done = self.progress.epoch * len(self.bounds) + step
        return learning_rate(self.config, done, self.config.epochs * len(self.bounds))

    def _report(self, loss: float) -> None:
        if self.on_step is not None:
            progress = self.progress
            rate = self._learning_rate(progress.step - 1)
            epochs, steps = self.config.epochs, len(self.bounds)
            self.on_step(Step(progress.epoch + 1, epochs, progress.step, steps, loss, rate))

    def _end_of_epoch(self) -> None:
        progress = self.progress
        chosen = permutation(len(self.index), self.config.seed, "train accuracy")[:TRAIN_ACCURACY_IMAGES]
        seen = evaluate(self.classifier, self.data, self.index[chosen], self.device)
        held = evaluate(self.classifier, self.validation, self.held, self.device)
        self._tick()
        progress.history.append(
            {
                "epoch": progress.epoch + 1,
                "train_loss": progress.loss_sum / len(self.index),
                "train_accuracy": finite(seen.accuracy),
                "validation_loss": finite(held.loss),
                "validation_accuracy": finite(held.accuracy),
                "gradient_norm": finite(held.gradient_norm),
                "learning_rate": self._learning_rate(progress.step - 1),
                "seconds": progress.seconds,
            }
        )
        progress.epoch, progress.step, progress.loss_sum, progress.seconds = progress.epoch + 1, 0, 0.0, 0.0
        best = -1.0 if progress.best_accuracy is None else progress.best_accuracy
        if held.accuracy > best:  # false for NaN: no validation images
            progress.best_epoch, progress.best_accuracy = progress.epoch, held.accuracy
            self._save(BEST, "ok")  # before the checkpoint: a run killed between the two writes the same file again
        journal("train.epoch")
        self._checkpoint()

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self.clock
        self.clock = now

    def _checkpoint(self) -> None:
        self._tick()
        if self.accelerator.is_main_process:
            path = self.folder / CHECKPOINT
            save_checkpoint(path, self.classifier.module, self.optimiser, self.progress, self.identity)
        self.saved = time.monotonic()

    def _save(self, name: str, outcome: str) -> dict[str, Any]:
        settings = {
            **self.identity,
            "config": asdict(self.config),
            "objective": asdict(self.objective),
            "data": {"name": self.data.name, "digest": self.data.digest, "images": len(self.index)},
        }
        record = as_record(self.progress, outcome, settings)
        if self.accelerator.is_main_process:
            save_with_record(self.classifier, self.folder / name, record)
        return record

    def _finish(self, outcome: str) -> TrainResult:
        self._tick()
        if self.accelerator.is_main_process:
            write_history(self.folder / HISTORY, self.progress.history)
            if self.progress.best_epoch is None:
                self._save(BEST, outcome)
        record = self._save(MODEL, outcome)  # last: its presence says that the training is finished
        journal("train.finished")
        if self.accelerator.is_main_process:
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        return as_result(self.classifier, record, self.progress.history, self.folder)


def _optimiser(parameters: list[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )


def _check_data(classifier: Classifier, data: LabelledImages, what: str) -> None:
    if not len(data):
        raise DataError(f"{what}: '{data.name}' has no images; check the reference, the split or the limit.")
    if data.shape != classifier.card.shape or len(data.classes) != classifier.classes:
        raise ModelError(
            f"{what}: '{data.name}' has images {data.shape} in {len(data.classes)} classes, the classifier takes "
            f"{classifier.card.shape} in {classifier.classes}. Build the classifier for this data, or resize them."
        )
    check_labels(data.labels, len(data.pixels), classifier.classes, what)


@contextlib.contextmanager
def _undone_if_stopped(classifier: Classifier) -> Iterator[None]:
    """Give the classifier its initial weights back if training stops by an exception.

    The checkpoint holds the progress; a caller who tries again, with the same object, is then seen to ask for the same
    training.
    """
    initial = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    try:
        yield
    except BaseException:
        classifier.module.load_state_dict(initial)
        raise


@contextlib.contextmanager
def _own_random_state(device: torch.device) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def _seed_layers(device: torch.device, *parts: int) -> None:
    """Seed what layers such as dropout draw from; the rest of training draws from `Draw`."""
    seed = derive_seed("layers", *parts)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
