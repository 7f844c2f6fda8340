"""Training a score network on a data set by reference, and converting foreign networks to files of our own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tangency.errors import ModelError, RunError, SpecError
from tangency.score import EDMLoss, NetworkScore, ScoreCard, build_network, load_score, save_score
from tangency.training import SCORE_CONFIG, ScoreResult, Step, train_score
from tangency.types import OnProgress
from tangency.worlds import load_dataset


@dataclass(frozen=True)
class FitConfig:
    """A network for a score and its training; `sigma_data` on [−1, 1]."""

    size: str = "small"
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3
    flip: bool = False
    sigma_data: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not -(2**63) <= self.seed < 2**63:
            raise SpecError(f"seed: got {self.seed}, expected a whole number of 64 bits.")


def training_progress(on_progress: OnProgress | None) -> Callable[[Step], None]:
    """A callback that reports the epoch and the share that is done, every 20 steps of a training."""

    def report(step: Step) -> None:
        if on_progress is not None and (step.step % 20 == 0 or step.share == 1):
            on_progress(f"epoch {step.epoch}/{step.epochs}", step.share)

    return report


def fit_network(
    data: str, fit: FitConfig, out: Path, device: str, on_progress: OnProgress | None = None
) -> ScoreResult:
    """Train a U-Net on the training images of a data set; a call that was stopped is continued.

    Args:
        data: reference of the data set.
        fit: size and training.
        out: gets score.safetensors, best-score.safetensors, history.parquet.
        device: where.
        on_progress: called with the epoch and the share that is done.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"output '{out}': got a file, expected a folder or a name that is free; use --out.")
    train = load_dataset(data).train
    options: dict[str, Any] = {"channels": train.shape[0], "classes": len(train.classes), "size": fit.size}
    card = ScoreCard(
        network="unet",
        prediction="edm",
        shape=train.shape,
        options=options | ({"mirrored": True} if fit.flip else {}),
        classes=train.classes,
        sigma_data=fit.sigma_data,
        provenance={"data": data, "data_digest": train.digest, "torch": torch.__version__},
    )
    config = dataclasses.replace(
        SCORE_CONFIG,
        epochs=fit.epochs,
        batch_size=fit.batch_size,
        learning_rate=fit.learning_rate,
        seed=fit.seed,
    )

    loss = EDMLoss(sigma_data=fit.sigma_data, flip=fit.flip)
    return train_score(
        build_network(card, fit.seed), train, loss, config, out, device=device, on_step=training_progress(on_progress)
    )


def convert_score(source: str, target: Path, half: bool = False) -> dict[str, Any]:
    """Write a foreign score network as safetensors with its card, which is returned.

    Args:
        source: edm:FILE.pkl, FILE.pkl, diffusers:DIR, k-diffusion:FILE.safetensors, or a file of our own.
        target: a .safetensors file.
        half: whether it is stored in half precision.
    """
    if target.suffix != ".safetensors":
        raise ModelError(f"'{target}': expected a name that ends in .safetensors.")
    if target.is_dir():
        raise ModelError(f"'{target}': got a folder, expected the name of a file.")
    score = load_score(f"edm:{source}" if source.endswith(".pkl") and not source.startswith("edm:") else source)
    if not isinstance(score, NetworkScore):
        raise ModelError(
            f"'{source}': is fitted, not a network; expected edm:FILE.pkl, diffusers:DIR or "
            "k-diffusion:FILE.safetensors."
        )
    save_score(score, target, half=half)
    return dataclasses.asdict(score.settings)
