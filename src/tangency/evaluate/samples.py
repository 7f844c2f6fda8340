"""Images drawn from a score by reference."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tangency.errors import SpecError
from tangency.score import ClassifierFreeGuided, Denoiser, Sampler, load_score
from tangency.tensors import write_tensors
from tangency.types import OnProgress
from tangency.worlds import load_dataset


@dataclass(frozen=True)
class SampleConfig:
    """Which images are drawn; `label` None takes every class in turn."""

    count: int = 64
    label: int | None = None
    unconditional: bool = False
    guidance: float = 1.0
    steps: int = 18
    churn: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Drawn:
    """Pictures (N, C, H, W), not clipped, and how long they took."""

    pictures: Tensor
    seconds: float


def sampler_for(score: Denoiser, steps: int, churn: float = 0.0) -> Sampler:
    """A sampler that starts no higher than what the score was trained for."""
    trained = score.card.get("sigma_range")
    highest = float(trained[1]) if trained else math.inf
    return Sampler(steps, sigma_max=min(Sampler().sigma_max, highest), churn=churn)


def sample_reference(
    reference: str,
    data: str | None,
    config: SampleConfig,
    out: Path,
    device: str = "cpu",
    on_progress: OnProgress | None = None,
) -> Drawn:
    """Draw images and write them, with labels, as safetensors.

    Args:
        reference: of the score.
        data: of the data set of a score that is fitted.
        config: how many of what.
        out: the file.
        device: where.
        on_progress: called with what is drawn, and the share that is done.
    """
    score = load_score(reference, None if data is None else load_dataset(data), device)
    y = _labels(score, config, device)
    if config.guidance != 1.0:
        if y is None:
            raise SpecError("guidance: expected a class to guide towards; leave --unconditional out.")
        score = ClassifierFreeGuided(score, config.guidance)
    started = time.monotonic()
    sampler = sampler_for(score, config.steps, config.churn)
    ids = torch.arange(config.count, device=device)
    pictures = sampler.sample(score, ids, y, seed=config.seed, on_progress=on_progress).cpu()
    labels = torch.full((config.count,), -1) if y is None else y.cpu()
    header = {"score": reference, "config": dataclasses.asdict(config)}
    write_tensors(out, {"images": pictures, "labels": labels}, header)
    return Drawn(pictures, round(time.monotonic() - started, 2))


def _labels(score: Denoiser, config: SampleConfig, device: str) -> Tensor | None:
    if config.unconditional or not score.classes:
        if config.label is not None:
            reason = "--unconditional was given" if config.unconditional else f"'{score.kind}' takes no labels"
            raise SpecError(f"class: got {config.label}, but {reason}.")
        return None
    if config.label is None:
        return torch.arange(config.count, device=device) % score.classes
    if config.label >= score.classes:
        raise SpecError(f"class: got {config.label}, expected 0 to {score.classes - 1}.")
    return torch.full((config.count,), config.label, device=device)
