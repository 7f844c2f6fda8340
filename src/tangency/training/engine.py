"""The training loop of every kind of network."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tangency.devices import arithmetic, autocast
from tangency.errors import RunError
from tangency.files import journal, remove_leftovers
from tangency.seeding import Draw, derive_seed, permutation
from tangency.tensors import digest, read_tensors
from tangency.training import processes
from tangency.training.batches import batch_bounds, load_batch, refuse_lone_images, split
from tangency.training.checkpoint import fingerprint, restore_checkpoint, save_checkpoint
from tangency.training.config import TrainConfig, learning_rate
from tangency.training.job import Step, Training, TrainingJob
from tangency.training.result import CHECKPOINT, TrainingRecord, TrainingResult, finite, read_history, write_history

if TYPE_CHECKING:
    from accelerate import Accelerator


def run_job(
    job: TrainingJob, training: Training, about: Mapping[str, object], settings: Mapping[str, object]
) -> TrainingResult:
    """Train, from the last checkpoint where there is one; a finished training is loaded instead.

    Args:
        job: what is trained.
        training: on what, how, and where to.
        about: what decides the result besides images, configuration and initial weights (JSON values).
        settings: what the record says of the loss.
    """
    folder = training.folder
    if folder.exists() and not folder.is_dir():
        raise RunError(f"output '{folder}': got a file, expected a folder or a name that is free.")
    identity = {
        "fingerprint": fingerprint(training.config, training.data, training.validation, about),
        "initial": digest(job.module.state_dict()),
    }
    if (folder / job.files[0]).exists():
        return _finished(job, training, identity)
    with _undone_if_stopped(job.module), torch.inference_mode(False), torch.enable_grad():
        run = _TrainingRun(job, training, identity, settings)
        with _own_random_state(run.device), arithmetic(training.config.precision):
            return run.to_the_end()


def _finished(job: TrainingJob, training: Training, identity: Mapping[str, str]) -> TrainingResult:
    """The finished training in this folder, its weights loaded; raises if it is another one."""
    path = training.folder / job.files[0]
    tensors, header = read_tensors(path)
    record = TrainingRecord.from_json(job.provenance(header, path).get("training", {}))
    initial = [record.initial]
    if job.in_place:  # a notebook cell that runs twice passes the trained module: the same training, finished
        initial.append(digest(tensors))
    if record.fingerprint != identity["fingerprint"] or identity["initial"] not in initial:
        raise RunError(
            f"{path}: holds the result of another training (other data, loss, settings or initial weights). Give "
            "another folder, or remove this one."
        )
    job.load(tensors, path)
    job.to(training.device)
    return TrainingResult(record, read_history(training.folder), training.folder)


class _TrainingRun:
    """One training in progress."""

    def __init__(
        self, job: TrainingJob, training: Training, identity: dict[str, str], settings: Mapping[str, object]
    ) -> None:
        config, data, validation = training.config, training.data, training.validation
        self.accelerator: Accelerator = processes.accelerator_for(training.device)
        self.device = processes.device_of(self.accelerator, training.device)
        job.to(self.device)
        self.job, self.training, self.config, self.data = job, training, config, data
        self.folder, self.identity, self.settings = training.folder, identity, settings
        fraction = config.validation_fraction if validation is None else 0.0
        self.index, held = split(data, fraction, config.seed)
        self.validation = data if validation is None else validation
        self.held = held if validation is None else torch.arange(len(validation))
        self.bounds = batch_bounds(len(self.index), config.batch_size)
        if any(stop - start == 1 for start, stop in self.bounds):
            refuse_lone_images(job.module.train())
        self.parameters = [p for p in job.module.parameters() if p.requires_grad]
        self.optimiser = _optimiser(self.parameters, config)
        if self.accelerator.is_main_process:
            _make(self.folder)
            remove_leftovers(self.folder)
        checkpoint = self.folder / CHECKPOINT
        self.progress = restore_checkpoint(checkpoint, job.module, self.optimiser, identity, job.state())
        self.accelerator.wait_for_everyone()  # no process writes before all have read
        self.clock = self.saved = time.monotonic()
        self.cpu_clock = time.process_time()

    def to_the_end(self) -> TrainingResult:
        """Train what is left."""
        while self.progress.epoch < self.config.epochs:
            if not self._epoch():
                return self._finish("diverged")
        return self._finish("ok")

    def _epoch(self) -> bool:
        """The rest of an epoch; False if it diverged."""
        progress = self.progress
        order = self.index[permutation(len(self.index), self.config.seed, "order", progress.epoch)]
        self.job.module.train()
        for start, stop in self.bounds[progress.step :]:
            loss = self._step(order[start:stop])
            if finite(loss) is None:
                return False
            self.job.stepped(progress.epoch * len(self.index) + start, stop - start)
            progress.loss_sum += loss * (stop - start)
            progress.step += 1
            journal("train.step")
            if time.monotonic() - self.saved >= self.config.checkpoint_seconds:
                self._checkpoint()
            self._report(loss)
        self._end_of_epoch()
        return True

    def _step(self, ids: Tensor) -> float:
        """Change the weights by one batch; the mean loss, or NaN and no change where it is not finite."""
        module = self.job.module
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
        with autocast(config.precision, self.device):
            losses = self.job.losses(batch, draw)
        loss = losses.to(torch.promote_types(losses.dtype, torch.float32)).sum() / len(ids)
        self.accelerator.backward(loss)
        total = processes.sum_gradients(self.accelerator, self.parameters, loss)
        processes.average_statistics(self.accelerator, self.job.module)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        length = torch.nn.utils.get_total_norm(gradients)
        mean, size = torch.stack([total, length.to(total)]).tolist()  # together: a device is waited for once
        if finite(mean + 0 * size) is None:
            return float("nan")
        if config.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, config.clip_norm, length)
        self.optimiser.step()
        return float(mean)

    def _learning_rate(self, step: int) -> float:
        """Of a step of the present epoch, counted from zero."""
        done = self.progress.epoch * len(self.bounds) + step
        return learning_rate(self.config, done, self.config.epochs * len(self.bounds))

    def _report(self, loss: float) -> None:
        if self.training.on_step is not None:
            progress = self.progress
            rate = self._learning_rate(progress.step - 1)
            epochs, steps = self.config.epochs, len(self.bounds)
            self.training.on_step(Step(progress.epoch + 1, epochs, progress.step, steps, loss, rate))

    def _end_of_epoch(self) -> None:
        progress = self.progress
        columns, merit = self.job.evaluate(self.training, self.index, self.validation, self.held, self.device)
        self._tick()
        progress.history.append(
            {
                "epoch": progress.epoch + 1,
                "train_loss": progress.loss_sum / len(self.index),
                **columns,
                "learning_rate": self._learning_rate(progress.step - 1),
                "seconds": progress.seconds,
            }
        )
        progress.epoch, progress.step, progress.loss_sum, progress.seconds = progress.epoch + 1, 0, 0.0, 0.0
        if finite(merit) is not None and (progress.best_merit is None or merit > progress.best_merit):
            progress.best_epoch, progress.best_merit = progress.epoch, merit
            self._save(self.job.files[1], "ok")  # before the checkpoint: a run killed in between writes the same again
        journal("train.epoch")
        self._checkpoint()

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self.clock
        self.clock, before = now, self.cpu_clock
        self.cpu_clock = time.process_time()
        self.progress.cpu_seconds += self.cpu_clock - before

    def _checkpoint(self) -> None:
        self._tick()
        if self.accelerator.is_main_process:
            path = self.folder / CHECKPOINT
            save_checkpoint(path, self.job.module, self.optimiser, self.progress, self.identity, self.job.state())
        self.saved = time.monotonic()

    def _save(self, name: str, outcome: str) -> TrainingRecord:
        progress = self.progress
        record = TrainingRecord(
            **self.identity,
            config=self.config.plain(),
            data={"name": self.data.name, "digest": self.data.digest, "images": len(self.index)},
            outcome=outcome,
            epoch=progress.epoch,
            step=progress.step,
            best_epoch=progress.best_epoch,
            best_merit=progress.best_merit,
            seconds=progress.seconds + sum(float(row["seconds"] or 0) for row in progress.history),
            cpu_seconds=progress.cpu_seconds,
            settings=self.settings,
        )
        if self.accelerator.is_main_process:
            self.job.save(self.folder / name, record)
        return record

    def _finish(self, outcome: str) -> TrainingResult:
        self._tick()
        last, best = self.job.files
        if self.accelerator.is_main_process:
            write_history(self.folder, self.progress.history)
            if self.progress.best_epoch is None:
                self._save(best, outcome)
        record = self._save(last, outcome)  # last: its presence marks the training as finished
        journal("train.finished")
        if self.accelerator.is_main_process:
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        return TrainingResult(record, self.progress.history, self.folder)


def _make(folder: Path) -> None:
    """Make the output folder before training, so that an unwritable one is reported at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"output '{folder}': cannot be made ({error.strerror}); give another folder.") from error


def _optimiser(parameters: list[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        parameters, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )


@contextlib.contextmanager
def _undone_if_stopped(module: nn.Module) -> Iterator[None]:
    """Give the module its initial weights back if training stops by an exception.

    The checkpoint holds the progress; trying again with the same object is then the same training.
    """
    initial = {name: value.clone() for name, value in module.state_dict().items()}
    try:
        yield
    except BaseException:
        module.load_state_dict(initial)
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
