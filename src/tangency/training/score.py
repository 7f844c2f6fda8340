"""Training of score networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import DataError, ModelError, RunError, SpecError
from tangency.models.weights import fill
from tangency.score import EDMLoss, NetworkScore, save_score
from tangency.score.networks.card import read_score_card
from tangency.seeding import Draw, permutation
from tangency.tensors import digest, read_tensors
from tangency.training.batches import Batch
from tangency.training.checkpoint import Row, fingerprint
from tangency.training.config import TrainConfig
from tangency.training.engine import Job, Step, run_job
from tangency.training.result import finite, read_history, refuse_other
from tangency.types import LabelledImages, check_labels

SCORE, BEST_SCORE = "score.safetensors", "best-score.safetensors"
VALIDATION_IMAGES = 1000
SCORE_CONFIG = TrainConfig(
    epochs=10,
    batch_size=64,
    learning_rate=2e-3,
    weight_decay=0.0,
    warmup=0.02,
    clip_norm=1.0,
    validation_fraction=0.02,
)


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
class ScoreResult:
    """A finished training of a score network.

    Args:
        score: with the averaged weights.
        outcome: "ok" or "diverged".
        best_epoch: of the lowest validation loss.
        history: one row an epoch, as in history.parquet.
        seconds: wall time of training, over all interruptions.
        folder: holds score.safetensors, best-score.safetensors, history.parquet.
    """

    score: NetworkScore
    outcome: str
    best_epoch: int | None
    history: list[Row]
    seconds: float
    folder: Path


class _ScoreJob(Job):
    """A network in training, and beside it the average of its weights, which is evaluated and saved."""

    files = SCORE, BEST_SCORE

    def __init__(self, module: nn.Module, kept: NetworkScore, loss: EDMLoss, averaging: Averaging, seed: int) -> None:
        self.module, self.kept, self.loss, self.averaging, self.seed = module, kept, loss, averaging, seed

    def to(self, device: torch.device) -> None:
        self.module.to(device)
        self.kept.to(device)

    def losses(self, batch: Batch, draw: Draw) -> Tensor:
        return self._losses(self.module, batch.x, batch.y, draw)

    def _losses(self, module: nn.Module, x: Tensor, y: Tensor, draw: Draw) -> Tensor:
        low, width = self.kept.data_range[0], self.kept.settings.width
        return self.loss.losses(module, low + width * x, y, self.kept.classes, draw)

    def stepped(self, images: int, batch: int) -> None:
        """Move the average towards the weights."""
        decay = self.averaging.decay(images, batch)
        kept: list[Tensor] = list(self.kept.module.parameters())
        now = self.module.parameters()
        torch._foreach_lerp_(kept, [parameter.detach() for parameter in now], 1 - decay)

    def state(self) -> Mapping[str, Tensor]:
        return dict(self.kept.module.named_parameters())

    def evaluate(
        self, data: LabelledImages, index: Tensor, validation: LabelledImages, held: Tensor, device: torch.device
    ) -> tuple[Row, float]:
        if not len(held):
            return {"validation_loss": None}, float("nan")
        parts = []
        chosen = held[permutation(len(held), self.seed, "validation loss")[:VALIDATION_IMAGES]]
        for ids in chosen.split(250):
            x, y = validation.images(ids).to(device), validation.labels[ids].to(device)
            draw = Draw(self.seed, ids.to(device), "validation")
            with torch.no_grad():
                parts.append(self._losses(self.kept.module, x, y, draw).double())
        loss = float(torch.cat(parts).mean())
        return {"validation_loss": finite(loss)}, -loss

    def save(self, path: Path, record: dict[str, Any]) -> None:
        provenance = {**self.kept.settings.provenance, "training": record}
        card = dataclasses.replace(self.kept.settings, provenance=provenance)
        save_score(NetworkScore(self.kept.module, card, self.kept.kind), path)


def train_score(
    score: NetworkScore,
    data: LabelledImages,
    loss: EDMLoss,
    config: TrainConfig,
    folder: Path | str,
    *,
    averaging: Averaging | None = None,
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
        averaging: of the weights.
        device: where to train; under `accelerate launch` each process takes its own.
        validation: images for the history and for the best; by default config.validation_fraction of `data`.
        on_step: called after each step; an exception from it stops the run.

    Raises:
        DataError, ModelError, SpecError: no images, images or classes that do not fit, a network of another kind.
        RunError: the folder belongs to another training.
    """
    averaging = averaging or Averaging()
    _check(score, loss, config)
    for images, what in ((data, "training images"), (validation, "validation images")):
        if images is not None:
            _check_images(score, images, what)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"output '{folder}': got a file, expected a folder or a name that is free.")
    card = asdict(score.settings)
    del card["provenance"]
    about = {"loss": asdict(loss), "averaging": asdict(averaging), "card": card}
    identity = {
        "fingerprint": fingerprint(config, data, validation, about),
        "initial": digest(score.module.state_dict()),
    }
    kept = NetworkScore(deepcopy(score.module), score.settings, score.kind)
    earlier = _finished(folder, kept, identity)
    if earlier is not None:
        kept.to(device)
        return earlier
    module = deepcopy(score.module).requires_grad_(True)
    job = _ScoreJob(module, kept, loss, averaging, config.seed)
    told = {"loss": asdict(loss), "averaging": asdict(averaging)}
    record, history = run_job(job, data, config, folder, identity, told, device, validation, on_step)
    return _as_result(kept, record, history, folder)


def _check(score: NetworkScore, loss: EDMLoss, config: TrainConfig) -> None:
    card = score.settings
    if card.network != "unet" or card.prediction != "edm":
        raise ModelError(
            f"'{score.kind}' is a {card.network} that predicts '{card.prediction}'; expected a unet with prediction "
            "edm: others can be asked, not trained."
        )
    if loss.sigma_data != card.sigma_data:
        raise SpecError(f"sigma_data: the loss has {loss.sigma_data}, the card {card.sigma_data}; expected the same.")
    if config.flip or config.crop:
        raise SpecError(
            "training: flip and crop change what is learnt; expected loss.flip, of which the network is told."
        )
    if loss.flip and not card.options.get("mirrored"):
        raise SpecError("flip: the network must know of mirrored images; give it the option mirrored.")
    if card.classes and not loss.class_dropout:
        raise SpecError("class_dropout: got 0, expected more, since the network is to answer without labels too.")


def _check_images(score: NetworkScore, data: LabelledImages, what: str) -> None:
    if not len(data):
        raise DataError(f"{what}: '{data.name}' has no images; check the reference, the split or the limit.")
    if data.shape != score.shape or (score.classes and len(data.classes) != score.classes):
        raise ModelError(
            f"{what}: '{data.name}' has images {data.shape} in {len(data.classes)} classes, the score network takes "
            f"{score.shape} in {score.classes}. Build it for this data, or resize them."
        )
    check_labels(data.labels, len(data.pixels), len(data.classes), what)


def _finished(folder: Path, kept: NetworkScore, identity: dict[str, str]) -> ScoreResult | None:
    """The result of an earlier run of the same training in this folder, loaded into `kept`; else None."""
    path = folder / SCORE
    if not path.exists():
        return None
    tensors, header = read_tensors(path)
    record = read_score_card(header, path).provenance.get("training", {})
    refuse_other(record, identity, path)
    fill(kept.module, tensors, path)
    return _as_result(kept, record, read_history(folder), folder)


def _as_result(kept: NetworkScore, record: dict[str, Any], history: list[Row], folder: Path) -> ScoreResult:
    provenance = {**kept.settings.provenance, "training": record}
    score = NetworkScore(kept.module, dataclasses.replace(kept.settings, provenance=provenance), kept.kind)
    return ScoreResult(score, record["outcome"], record["best_epoch"], history, record["seconds"], folder)
