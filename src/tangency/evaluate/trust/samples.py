"""Images drawn from a score: do they look like the data, and are they new?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tangency.evaluate.samples import sampler_for
from tangency.evaluate.trust.config import TrustConfig
from tangency.perceptual.kid import FEWEST, alexnet_features, kid
from tangency.perceptual.lpips import LPIPS
from tangency.score import Denoiser
from tangency.score.quality import nearest
from tangency.seeding import permutation
from tangency.types import Dataset

_HELD, _FEWEST_NEW, _NEAREST = 200, 100, 0.01  # new images compared with, the fewest of them, the share that is "near"


def draw_samples(
    score: Denoiser, data: Dataset, config: TrustConfig, device: str, on_progress: Callable[[float], None]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Images drawn from the score: how near to training images, how far from held-out ones."""
    if not config.samples:
        return {}, {}
    ids = torch.arange(config.samples, device=device)
    y = ids % score.classes if score.classes else None
    sampler = sampler_for(score, config.steps)
    x = sampler.sample(score, ids, y, seed=config.seed, on_progress=lambda _, share: on_progress(share)).cpu()
    near = nearest(x, data.train)
    chosen = permutation(len(data.test), 1, "score evaluation")[: max(config.samples, _HELD)]
    usual = nearest(data.test.images(chosen), data.train).distance
    out: dict[str, Any] = {
        "count": config.samples,
        "sampler": dataclasses.asdict(sampler) | {"churn_range": None},
        "nearest_training_image": {"median": float(near.distance.median()), "held_out": float(usual.median())},
        "copies": _copies(near.distance, usual),
        "kid": None,
    }
    if config.samples >= FEWEST and len(data.test) >= FEWEST and x.shape[1] in (1, 3):
        out["kid"] = _kid(x, data, config)
    labels = torch.full((len(x),), -1) if y is None else y.cpu()
    return out, {"samples": x, "labels": labels, "neighbours": data.train.images(near.index)}


def _copies(distance: Tensor, usual: Tensor) -> dict[str, float] | None:
    """Share of samples nearer to a training image than 99 % of new images are; None with few new images."""
    from scipy.stats import binomtest

    if len(usual) < _FEWEST_NEW:
        return None
    rank = max(1, int(_NEAREST * len(usual)))  # that many of the new images are this near
    close = int((distance < usual.sort().values[rank]).sum())
    chance = (rank + 1) / (len(usual) + 1)  # of a new image to be nearer than the rank-th of N others
    p = binomtest(close, len(distance), chance, alternative="greater").pvalue
    return {"share": close / len(distance), "chance": chance, "p": float(p)}


def _kid(x: Tensor, data: Dataset, config: TrustConfig) -> dict[str, Any]:
    """Distance of the samples from held-out images, beside that of training images: the score that is perfect."""
    lpips = LPIPS()
    count = min(config.samples, len(data.test), len(data.train))
    held = alexnet_features(data.test.images(permutation(len(data.test), 2, "KID")[:count]), lpips)
    train = alexnet_features(data.train.images(permutation(len(data.train), 2, "KID")[:count]), lpips)
    ours = kid(alexnet_features(x, lpips), held, "alexnet-lpips")
    return dataclasses.asdict(ours) | {"training_images": dataclasses.asdict(kid(train, held, "alexnet-lpips"))}
