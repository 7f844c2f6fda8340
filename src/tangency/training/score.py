"""Training of score networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, SpecError
from tangency.models.weights import fill
from tangency.score import EDMLoss, NetworkScore, save_score
from tangency.score.networks.card import read_score_card
from tangency.seeding import Draw
from tangency.training.batches import Minibatch
from tangency.training.checkpoint import Row
from tangency.training.config import TrainConfig
from tangency.training.engine import run_job
from tangency.training.job import Step, Training, TrainingJob, validation_batches
from tangency.training.result import TrainingRecord, TrainingResult, finite
from tangency.types import LabelledImages

SCORE, BEST_SCORE = "score.safetensors", "best-score.safetensors"


@dataclass(frozen=True)
class Averaging:
    """Exponential moving average of the weights, which is what is kept: the half-life is in images.

    Args:
        half_life: in images, once training is long enough.
        share: the half-life is at most this share of the images seen so far.
    """

    half_life: float = 500_000.0
    share: float = 0.05

    def __post_init__(self) -> None:
        if not (self.half_life > 0 and self.share > 0):
            raise SpecError(f"averaging: got half-life {self.half_life} and share {self.share}, expected both > 0.")

    def decay(self, images: int, batch: int) -> float:
        """Weight of the old average at a step of `batch` images, after `images` before it."""
        half_life = min(self.half_life, self.share * (images + batch))
        return float(0.5 ** (batch / half_life))


@dataclass(frozen=True)
class ScoreConfig(TrainConfig):
    """How to train a score network: as any training, with an average of its weights."""

    averaging: Averaging = Averaging()


SCORE_CONFIG = ScoreConfig(
    epochs=10,
    batch_size=64,
    learning_rate=2e-3,
    weight_decay=0.0,
    warmup=0.02,
    clip_norm=1.0,
    validation_fraction=0.02,
)


@dataclass(frozen=True)
class ScoreResult(TrainingResult):
    """A finished training of a score network, with the averaged weights; more fields in `TrainingResult`."""

    score: NetworkScore


class _ScoreJob(TrainingJob):
    """A network in training with the average of its weights, which is evaluated and saved."""

    files = SCORE, BEST_SCORE

    def __init__(self, score: NetworkScore, loss: EDMLoss, averaging: Averaging) -> None:
        self.module: nn.Module = deepcopy(score.module).requires_grad_(True)
        self.kept = NetworkScore(deepcopy(score.module), score.settings, score.kind)
        self.loss, self.averaging = loss, averaging

    def to(self, device: torch.device | str) -> None:
        self.module.to(device)
        self.kept.to(str(device))

    def losses(self, batch: Minibatch, draw: Draw) -> Tensor:
        return self._losses(self.module, batch, draw)

    def _losses(self, module: nn.Module, batch: Minibatch, draw: Draw) -> Tensor:
        low, width = self.kept.data_range[0], self.kept.settings.width
        return self.loss.losses(module, low + width * batch.x, batch.y, self.kept.classes, draw)

    def stepped(self, images: int, batch: int) -> None:
        """Move the average towards the weights."""
        decay = self.averaging.decay(images, batch)
        kept: list[Tensor] = list(self.kept.module.parameters())
        torch._foreach_lerp_(kept, [parameter.detach() for parameter in self.module.parameters()], 1 - decay)

    def state(self) -> Mapping[str, Tensor]:
        return dict(self.kept.module.named_parameters())

    @torch.no_grad()
    def evaluate(
        self, training: Training, index: Tensor, validation: LabelledImages, held: Tensor, device: torch.device
    ) -> tuple[Row, float]:
        if not len(held):
            return {"validation_loss": None}, float("nan")
        seed = training.config.seed
        batches = validation_batches(validation, held, seed, device)
        parts = [self._losses(self.kept.module, batch, Draw(seed, batch.ids, "validation")) for batch in batches]
        loss = float(torch.cat(parts).double().mean())
        return {"validation_loss": finite(loss)}, -loss

    def with_record(self, record: TrainingRecord) -> NetworkScore:
        """The averaged network, whose card knows of this training."""
        provenance = {**self.kept.settings.provenance, "training": record.to_json()}
        return NetworkScore(self.kept.module, replace(self.kept.settings, provenance=provenance), self.kept.kind)

    def save(self, path: Path, record: TrainingRecord) -> None:
        save_score(self.with_record(record), path)

    def provenance(self, header: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
        return read_score_card(header, path).provenance

    def load(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        fill(self.kept.module, tensors, path)


def train_score(
    score: NetworkScore,
    data: LabelledImages,
    loss: EDMLoss,
    config: ScoreConfig,
    folder: Path | str,
    *,
    device: torch.device | str = "cpu",
    validation: LabelledImages | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> ScoreResult:
    """Minimise the mean of loss.losses; the score that is returned has the averaged weights.

    Stops, resumes and ends as `train` does: killed at any moment, it goes on from its last checkpoint, and a finished
    run is not repeated.

    Args:
        score: with its initial weights, which stay as they are.
        data: training images, of the score's shape and classes (any classes where it takes no labels).
        loss: of an image.
        config: how to train; `SCORE_CONFIG` suits networks of a million weights.
        folder: gets score.safetensors (last), best-score.safetensors (least validation loss) and history.parquet.
        device: where to train; under `accelerate launch` each process takes its own.
        validation: images for the history and for the best; by default config.validation_fraction of `data`.
        on_step: called after each step; an exception from it stops the run.

    Raises:
        DataError, ModelError, SpecError: no images, images or classes that do not fit, a network of another kind.
        RunError: the folder belongs to another training.
    """
    training = Training(data, config, Path(folder), device, validation, on_step)
    _check(score, loss, config)
    training.check_images("the score network", score.shape, score.classes)
    card = asdict(score.settings)
    del card["provenance"]
    settings = {"loss": asdict(loss), "averaging": asdict(config.averaging)}
    job = _ScoreJob(score, loss, config.averaging)
    result = run_job(job, training, settings | {"card": card}, settings)
    return ScoreResult(result.record, result.history, result.folder, job.with_record(result.record))


def _check(score: NetworkScore, loss: EDMLoss, config: TrainConfig) -> None:
    card = score.settings
    if card.network != "unet" or card.prediction != "edm":
        raise ModelError(
            f"'{score.kind}' is a {card.network} that predicts '{card.prediction}'; expected a unet with prediction "
            "edm: others can be used, not trained."
        )
    if loss.sigma_data != card.sigma_data:
        raise SpecError(f"sigma_data: the loss has {loss.sigma_data}, the card {card.sigma_data}; expected the same.")
    if config.flip or config.crop:
        raise SpecError("training: flip and crop change what is learnt; expected loss.flip, which the network sees.")
    if loss.flip and not card.options.get("mirrored"):
        raise SpecError("flip: the network must tell mirrored images from others; give it the option mirrored.")
    if card.classes and not loss.class_dropout:
        raise SpecError("class_dropout: got 0, expected more, since the network must also work without labels.")
