"""Training of autoencoders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import DataError, ModelError, RunError, SpecError
from tangency.models.weights import fill
from tangency.seeding import Draw, permutation
from tangency.tangents.autoencoder import ConvAutoencoder, autoencoder_losses
from tangency.tangents.autoencoder_files import AutoencoderCard, read_autoencoder_card, save_autoencoder
from tangency.tensors import digest, read_tensors
from tangency.training.batches import Batch
from tangency.training.checkpoint import Row, fingerprint
from tangency.training.config import TrainConfig
from tangency.training.engine import Job, Step, run_job
from tangency.training.result import finite, read_history, refuse_other
from tangency.types import LabelledImages

AUTOENCODER, BEST_AUTOENCODER = "autoencoder.safetensors", "best-autoencoder.safetensors"
VALIDATION_IMAGES = 1000
AUTOENCODER_CONFIG = TrainConfig(epochs=20, batch_size=64, learning_rate=2e-3, weight_decay=0.0, warmup=0.05)


@dataclass(frozen=True)
class AutoencoderResult:
    """A finished training of an autoencoder; fields as of `ScoreResult`."""

    module: ConvAutoencoder
    card: AutoencoderCard
    outcome: str
    best_epoch: int | None
    history: list[Row]
    seconds: float
    folder: Path


class _AutoencoderJob(Job):
    files = AUTOENCODER, BEST_AUTOENCODER

    def __init__(self, module: ConvAutoencoder, card: AutoencoderCard, seed: int) -> None:
        self.module: nn.Module = module
        self.card, self.seed = card, seed

    def to(self, device: torch.device) -> None:
        self.module.to(device)

    def losses(self, batch: Batch, draw: Draw) -> Tensor:
        return autoencoder_losses(self._own, batch.x, self.card.beta, draw)

    @property
    def _own(self) -> ConvAutoencoder:
        assert isinstance(self.module, ConvAutoencoder)
        return self.module

    def stepped(self, images: int, batch: int) -> None:
        return

    def evaluate(
        self, data: LabelledImages, index: Tensor, validation: LabelledImages, held: Tensor, device: torch.device
    ) -> tuple[Row, float]:
        if not len(held):
            return {"validation_loss": None, "validation_error": None}, float("nan")
        chosen = held[permutation(len(held), self.seed, "validation loss")[:VALIDATION_IMAGES]]
        losses, errors = [], []
        for ids in chosen.split(250):
            x = validation.images(ids).to(device)
            with torch.no_grad():
                losses.append(autoencoder_losses(self._own, x, self.card.beta, Draw(self.seed, ids.to(device), "held")))
                errors.append((self._own.decode(self._own.encode(x)) - x).square().flatten(1).mean(1))
        loss, error = (float(torch.cat(parts).double().mean()) for parts in (losses, errors))
        return {"validation_loss": finite(loss), "validation_error": finite(error)}, -loss

    def save(self, path: Path, record: dict[str, Any]) -> None:
        provenance = {**self.card.provenance, "training": record}
        save_autoencoder(self._own, dataclasses.replace(self.card, provenance=provenance), path)


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
    _check(module, card, data, validation)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"output '{folder}': got a file, expected a folder or a name that is free.")
    about = {"shape": list(card.shape), "options": card.options, "beta": card.beta}
    identity = {"fingerprint": fingerprint(config, data, validation, about), "initial": digest(module.state_dict())}
    kept = deepcopy(module)
    earlier = _finished(folder, kept, card, identity)
    if earlier is not None:
        kept.to(device)
        return earlier
    job = _AutoencoderJob(kept, card, config.seed)
    record, history = run_job(job, data, config, folder, identity, {"beta": card.beta}, device, validation, on_step)
    return _as_result(kept.eval(), card, record, history, folder)


def _check(
    module: ConvAutoencoder, card: AutoencoderCard, data: LabelledImages, validation: LabelledImages | None
) -> None:
    for images, what in ((data, "training images"), (validation, "validation images")):
        if images is not None and not len(images):
            raise DataError(f"{what}: '{images.name}' has none; check the reference, the split or the limit.")
        if images is not None and images.shape != card.shape:
            raise ModelError(f"{what}: '{images.name}' has images {images.shape}, the autoencoder takes {card.shape}.")
    if module.variational != (card.beta > 0):
        raise SpecError(
            f"beta: got {card.beta} for a {'variational' if module.variational else 'plain'} autoencoder; expected "
            "more than 0 for a variational one, and 0 for a plain one."
        )


def _finished(
    folder: Path, kept: ConvAutoencoder, card: AutoencoderCard, identity: Mapping[str, str]
) -> AutoencoderResult | None:
    """The result of an earlier run of the same training in this folder, loaded into `kept`; else None."""
    path = folder / AUTOENCODER
    if not path.exists():
        return None
    tensors, header = read_tensors(path)
    record = read_autoencoder_card(header, path).provenance.get("training", {})
    refuse_other(record, identity, path)
    fill(kept, tensors, path)
    return _as_result(kept.eval(), card, record, read_history(folder), folder)


def _as_result(
    module: ConvAutoencoder, card: AutoencoderCard, record: dict[str, Any], history: list[Row], folder: Path
) -> AutoencoderResult:
    card = dataclasses.replace(card, provenance={**card.provenance, "training": record})
    return AutoencoderResult(module, card, record["outcome"], record["best_epoch"], history, record["seconds"], folder)
