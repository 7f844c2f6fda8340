"""Images drawn from a score: do they look like the data, and are they new?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from tangency.evaluate.samples import sampler_for
from tangency.evaluate.trust.config import TrustConfig
from tangency.evaluate.trust.results import Copies, NearestDistances, SampleCheck
from tangency.perceptual.kid import FEWEST, alexnet_features, kid
from tangency.perceptual.lpips import LPIPS
from tangency.score import Denoiser
from tangency.score.quality import nearest
from tangency.seeding import permutation
from tangency.types import Dataset, LabelledImages

_HELD, _FEWEST_NEW, _NEAREST = 200, 100, 0.01  # new images compared with, the fewest of them, the share that is "near"


def draw_samples(
    score: Denoiser, data: Dataset, config: TrustConfig, device: str, on_progress: Callable[[float], None]
) -> tuple[SampleCheck | None, dict[str, Tensor]]:
    """Images drawn from the score: how near to training images, how far from held-out ones."""
    if not config.samples:
        return None, {}
    ids = torch.arange(config.samples, device=device)
    y = ids % score.classes if score.classes else None
    sampler = sampler_for(score, config.steps)
    x = sampler.sample(score, ids, y, seed=config.seed, on_progress=lambda _, share: on_progress(share)).cpu()
    near = nearest(x, data.train)
    chosen = permutation(len(data.test), 1, "score evaluation")[: max(config.samples, _HELD)]
    usual = nearest(data.test.images(chosen), data.train).distance
    enough = config.samples >= FEWEST and len(data.test) >= FEWEST and x.shape[1] in (1, 3)
    check = SampleCheck(
        count=config.samples,
        sampler=dataclasses.asdict(sampler) | {"churn_range": None},
        nearest_training_image=NearestDistances(float(near.distance.median()), float(usual.median())),
        copies=_copies(near.distance, usual),
        kid=_kid(x, data, config) if enough else None,
    )
    labels = torch.full((len(x),), -1) if y is None else y.cpu()
    return check, {"samples": x, "labels": labels, "neighbours": data.train.images(near.index)}


def _copies(distance: Tensor, usual: Tensor) -> Copies | None:
    """Whether samples copy training images; None with few new images."""
    from scipy.stats import binomtest

    if len(usual) < _FEWEST_NEW:
        return None
    rank = max(1, int(_NEAREST * len(usual)))  # that many of the new images are this near
    close = int((distance < usual.sort().values[rank]).sum())
    chance = (rank + 1) / (len(usual) + 1)  # of a new image to be nearer than the rank-th of N others
    p = binomtest(close, len(distance), chance, alternative="greater").pvalue
    return Copies(close / len(distance), chance, float(p))


def _kid(x: Tensor, data: Dataset, config: TrustConfig) -> dict[str, object]:
    """Distance of the samples from held-out images, beside that of training images: the score that is perfect."""
    lpips, count = LPIPS(), min(config.samples, len(data.test), len(data.train))

    def features(images: LabelledImages) -> Tensor:
        return alexnet_features(images.images(permutation(len(images), 2, "KID")[:count]), lpips)

    held = features(data.test)
    ours, train = (kid(f, held, "alexnet-lpips") for f in (alexnet_features(x, lpips), features(data.train)))
    return dataclasses.asdict(ours) | {"training_images": dataclasses.asdict(train)}
