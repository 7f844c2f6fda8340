"""The best fixed filter before a seed's standard network, chosen on training images: what smoothing alone can do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import RunError
from tangency.evaluate.filters import BestFilters, Filtered, FilterSearch, FilterSource
from tangency.measures import WorkingSize
from tangency.measures.config import NETWORK
from tangency.score import Denoiser
from tangency.seeding import permutation
from tangency.study.layout import Layout
from tangency.study.plan import FILTERED, Trial
from tangency.types import LabelledImages

IMAGES = 500  # training images at most that filters are chosen on; verdicts use test images
TARGETS = {name: target for target, name in FILTERED.items()}
_AT_ONCE = 125  # images whose directions are computed together


def filter_search(
    source: FilterSource,
    closed: Denoiser | None,
    network: Denoiser | None,
    targets: list[str],
    working: WorkingSize,
    sigma: float,
) -> FilterSearch:
    """The bank, a fixed random subset of the training images, and their Bayes directions.

    Args:
        source: of the filters; it has the training images, at their own size.
        closed, network: the scores.
        targets: of the directions that are measured.
        working: the size that scores live at; their directions are lifted to the images' own.
        sigma: noise level of the directions.
    """
    train = source.train
    places = permutation(len(train), 0, "input filters")[:IMAGES].sort().values
    images = train.subset(places)
    scores = {target: network if target.startswith(NETWORK) else closed for target in targets}
    directions = {
        target: _directions(score, images, working, sigma, str(source.device))
        for target, score in scores.items()
        if score is not None
    }
    return FilterSearch(source.bank(), images, tuple(places.tolist()), train.digest, directions)


def _directions(score: Denoiser, images: LabelledImages, working: WorkingSize, sigma: float, device: str) -> Tensor:
    """∇ log p_σ(y | x) of each image, (N, C, H, W) on the CPU."""
    parts = []
    for index in torch.split(torch.arange(len(images)), _AT_ONCE):
        x, y = working.reduce(images.images(index).to(device)), images.labels[index].to(device)
        with torch.no_grad():
            parts.append(working.lift(score.bayes_direction(x, y, sigma).direction).cpu())
    return torch.cat(parts)


def filter_outcome(best: BestFilters, trial: Trial) -> dict[str, Any]:
    """What the outcome of a filtered trial says of its filter: the name, how it was chosen, and from what."""
    table = best.to_json()
    return {
        "filter": best.chosen[TARGETS[trial.name]],
        "chosen_on": {"images": len(best.images), "digest": best.data, "accuracy_margin": best.margin},
        "candidates": table["candidates"],
    }


def filtered(net: nn.Module, trial: Trial, layout: Layout, source: FilterSource) -> nn.Module:
    """The network of a filtered trial: the standard one of its seed behind the filter that was chosen for it.

    Raises:
        RunError: no filter was chosen.
    """
    name = layout.outcome(trial).get("filter")
    if not isinstance(name, str):
        raise RunError(f"'{layout.trial_json(trial)}': names no filter; delete it and run the study again.")
    return Filtered(source.named(name), net)
