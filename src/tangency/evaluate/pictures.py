"""A few images of a measured classifier with its gradients and the scores, for the page that shows several models."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tangency.autodiff import input_gradient
from tangency.measures import MeasureConfig
from tangency.measures.keys import MARGIN
from tangency.score import Denoiser
from tangency.tensors import write_tensors
from tangency.types import LabelledImages

PICTURES = 8
_AT_ONCE = 4  # images, whose gradients large networks need memory for
FILE = "pictures.safetensors"


def keep_pictures(
    folder: Path,
    model: nn.Module,
    score: Denoiser | None,
    data: LabelledImages,
    ids: Tensor,
    config: MeasureConfig,
    device: str,
) -> None:
    """Write images, labels, gradients of the margin and scores at the largest σ of eight measured images.

    All of it is at the working size. The images are the first measured one of each class, then the next ones: chosen by
    index, never by how they look.
    """
    chosen = of_many_classes(ids, data.labels[ids])[:PICTURES]
    own, y = data.images(chosen).to(device), data.labels[chosen].long().to(device)
    working = config.working(data.shape)
    x = working.reduce(own)
    sigma = max(config.sigmas, default=0.5)
    tensors = {
        "image": x,
        "labels": y,
        "gradient": working.gradient(input_gradient(model, own, y, MARGIN, batch_size=_AT_ONCE).direction),
        **closed_pictures(score, x, y, sigma),
    }
    write_tensors(folder / FILE, tensors, {"sigma": sigma, "scalar": MARGIN, "ids": chosen.tolist()})


def of_many_classes(ids: Tensor, labels: Tensor) -> Tensor:
    """The images in another order: the first of each class, then the rest.

    Args:
        ids: (N,) indices of images.
        labels: (N,) their classes.

    Returns:
        (N,) the same indices.

    Example:
        >>> of_many_classes(torch.tensor([4, 5, 6, 7]), torch.tensor([1, 1, 0, 1])).tolist()
        [6, 4, 5, 7]
    """
    firsts = torch.cat([ids[labels == c][:1] for c in sorted(set(labels.tolist()))])
    return torch.cat([firsts, ids[~torch.isin(ids, firsts)]])


def closed_pictures(score: Denoiser | None, x: Tensor, y: Tensor, sigma: float) -> dict[str, Tensor]:
    """What a closed form says of images x (N, C, H, W) with labels y, by target; nothing where there is none."""
    if score is None:
        return {}
    return {
        "bayes_gradient": score.bayes_direction(x, y, sigma).direction,
        "score_y": score.score(x, sigma, y),
        "score": score.score(x, sigma),
    }
