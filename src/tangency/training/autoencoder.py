"""Training of autoencoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangency.errors import SpecError
from tangency.models.weights import fill
from tangency.seeding import Draw
from tangency.tangents.autoencoders.files import AutoencoderCard, read_autoencoder_card, save_autoencoder
from tangency.tangents.autoencoders.network import ConvAutoencoder, autoencoder_losses
from tangency.training.batches import Minibatch
from tangency.training.checkpoint import Row
from tangency.training.config import TrainConfig
from tangency.training.engine import run_job
from tangency.training.job import Step, Training, TrainingJob, validation_batches
from tangency.training.result import TrainingRecord, TrainingResult, finite
from tangency.types import LabelledImages

AUTOENCODER, BEST_AUTOENCODER = "autoencoder.safetensors", "best-autoencoder.safetensors"
AUTOENCODER_CONFIG = TrainConfig(epochs=20, batch_size=64, learning_rate=2e-3, weight_decay=0.0, warmup=0.05)


@dataclass(frozen=True)
class AutoencoderResult(TrainingResult):
    """A finished training of an autoencoder, and its card; more fields in `TrainingResult`."""

    module: ConvAutoencoder
    card: AutoencoderCard


class _AutoencoderJob(TrainingJob):
    files = AUTOENCODER, BEST_AUTOENCODER

    def __init__(self, autoencoder: ConvAutoencoder, card: AutoencoderCard) -> None:
        self.module = self.autoencoder = autoencoder
        self.card = card

    def losses(self, batch: Minibatch, draw: Draw) -> Tensor:
        return autoencoder_losses(self.autoencoder, batch.x, self.card.beta, draw)

    @torch.no_grad()
    def evaluate(
        self, training: Training, index: Tensor, validation: LabelledImages, held: Tensor, device: torch.device
    ) -> tuple[Row, float]:
        if not len(held):
            return {"validation_loss": None, "validation_error": None}, float("nan")
        losses, errors = [], []
        for batch in validation_batches(validation, held, training.config.seed, device):
            losses.append(self.losses(batch, Draw(training.config.seed, batch.ids, "held")))
            decoded = self.autoencoder.decode(self.autoencoder.encode(batch.x))
            errors.append((decoded - batch.x).square().flatten(1).mean(1))
        loss, error = (float(torch.cat(parts).double().mean()) for parts in (losses, errors))
        return {"validation_loss": finite(loss), "validation_error": finite(error)}, -loss

    def with_record(self, record: TrainingRecord) -> AutoencoderCard:
        """The card after this training."""
        return replace(self.card, provenance={**self.card.provenance, "training": record.to_json()})

    def save(self, path: Path, record: TrainingRecord) -> None:
        save_autoencoder(self.autoencoder, self.with_record(record), path)

    def provenance(self, header: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
        return read_autoencoder_card(header, path).provenance

    def load(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        fill(self.autoencoder, tensors, path)


def train_autoencoder(
    module: ConvAutoencoder,
    card: AutoencoderCard,
    data: LabelledImages,
    config: TrainConfig,
    folder: Path | str,
    *,
    device: torch.device | str = "cpu",
    validation: LabelledImages | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> AutoencoderResult:
    """Minimise the mean of `autoencoder_losses`; stops, resumes and ends as `train` does.

    Args:
        module: with its initial weights, which stay as they are.
        card: what was built.
        data: training images of the card's shape.
        config: how to train; `AUTOENCODER_CONFIG` suits small images.
        folder: gets autoencoder.safetensors (last), best-autoencoder.safetensors (least validation loss) and
            history.parquet.
        device: where to train.
        validation: images for the history and for the best; by default config.validation_fraction of `data`.
        on_step: called after each step; an exception from it stops the run.

    Raises:
        DataError, ModelError, SpecError: no images, images that do not fit, a VAE without β.
        RunError: the folder belongs to another training.
    """
    training = Training(data, config, Path(folder), device, validation, on_step)
    training.check_images("the autoencoder", card.shape)
    if module.variational != (card.beta > 0):
        raise SpecError(
            f"beta: got {card.beta} for a {'variational' if module.variational else 'plain'} autoencoder; expected "
            "more than 0 for a variational one, and 0 for a plain one."
        )
    job = _AutoencoderJob(deepcopy(module), card)
    about = {"shape": list(card.shape), "options": card.options, "beta": card.beta}
    result = run_job(job, training, about, {"beta": card.beta})
    module, card = job.autoencoder.eval(), job.with_record(result.record)
    return AutoencoderResult(result.record, result.history, result.folder, module, card)
