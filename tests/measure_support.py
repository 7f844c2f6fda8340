"""A small mixture with its images, and its classifiers measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from support import make_mixture
from tangency.measures import MeasureConfig, Rows, measure
from tangency.mixtures import Mixture
from tangency.score import MixtureScore
from tangency.tangents import MixtureTangents
from tangency.types import LabelledImages


def toy_world(
    shape: tuple[int, int, int], n: int, dtype: torch.dtype = torch.float64
) -> tuple[Mixture, LabelledImages]:
    """A mixture of three classes with tangent spaces of 4 dimensions, and n of its images."""
    mixture = make_mixture(shape, 3, 2, 4, noise=0.003)
    x, y = mixture.sample(n, 0)
    return mixture, LabelledImages(x.clamp(0, 1).to(dtype), y, ("a", "b", "c"))


def measured(
    model: nn.Module, mixture: Mixture, data: LabelledImages, config: MeasureConfig | None = None, **changes: Any
) -> Rows:
    """Rows of all images against the mixture's own score and tangent spaces.

    Args:
        model, mixture, data, config: as of `measure`.
        **changes: arguments of `measure` in place of these; `at` (K,) measures these images alone, in the pool of all.
    """
    at = changes.pop("at", None)
    if at is not None:
        changes |= {"images": data.images()[at], "labels": data.labels[at], "ids": at, "pool": data}
    arguments: dict[str, Any] = {
        "images": data.images(),
        "labels": data.labels,
        "train_data": data,
        "score": MixtureScore(mixture),
        "tangents": MixtureTangents(mixture),
        "config": config or MeasureConfig(),
    }
    return measure(model, **(arguments | changes))
