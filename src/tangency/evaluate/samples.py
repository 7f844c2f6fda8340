"""Images drawn from a score by reference."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tangency.errors import SpecError
from tangency.score import ClassifierFreeGuided, Denoiser, Sampler, load_score
from tangency.tensors import write_tensors
from tangency.worlds import load_dataset


@dataclass(frozen=True)
class SampleConfig:
    """What `tangency score sample` is asked for; `label` None takes every class in turn."""

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
    asked: SampleConfig,
    out: Path,
    device: str = "cpu",
    tell: Callable[[str, float], None] | None = None,
) -> Drawn:
    """Draw images and write them, with labels, as safetensors.

    Args:
        reference: of the score.
        data: of the data set of a score that is fitted.
        asked: how many of what.
        out: the file.
        device: where.
        tell: told the share that is done.
    """
    score = load_score(reference, None if data is None else load_dataset(data), device)
    y = _labels(score, asked, device)
    if asked.guidance != 1.0:
        if y is None:
            raise SpecError("guidance: expected a class to guide towards; leave --unconditional away.")
        score = ClassifierFreeGuided(score, asked.guidance)
    started = time.monotonic()
    sampler = sampler_for(score, asked.steps, asked.churn)
    ids = torch.arange(asked.count, device=device)
    told = None if tell is None else (lambda share: tell(f"{asked.count} images", share))
    pictures = sampler.sample(score, ids, y, seed=asked.seed, on_step=told).cpu()
    labels = torch.full((asked.count,), -1) if y is None else y.cpu()
    write_tensors(out, {"images": pictures, "labels": labels}, {"score": reference, "asked": dataclasses.asdict(asked)})
    return Drawn(pictures, round(time.monotonic() - started, 2))


def _labels(score: Denoiser, asked: SampleConfig, device: str) -> Tensor | None:
    if asked.unconditional or not score.classes:
        if asked.label is not None:
            reason = "--unconditional was given" if asked.unconditional else f"'{score.kind}' takes no labels"
            raise SpecError(f"class: got {asked.label}, but {reason}.")
        return None
    if asked.label is None:
        return torch.arange(asked.count, device=device) % score.classes
    if asked.label >= score.classes:
        raise SpecError(f"class: got {asked.label}, expected 0 to {score.classes - 1}.")
    return torch.full((asked.count,), asked.label, device=device)
