"""The best fixed filter before a seed's standard network, chosen on training images: what smoothing alone can do."""

from __future__ import annotations

from typing import Any

from torch import nn

from tangency.errors import RunError
from tangency.evaluate.filters import BestFilters, Filtered, FilterSearch, FilterSource
from tangency.measures import WorkingSize
from tangency.measures.config import NETWORK
from tangency.score import Denoiser
from tangency.study.layout import Layout
from tangency.study.plan import FILTERED, Trial
from tangency.types import Dataset

TARGETS = {name: target for target, name in FILTERED.items()}


def filter_search(
    data: Dataset,
    closed: Denoiser | None,
    network: Denoiser | None,
    targets: list[str],
    working: WorkingSize,
    sigma: float,
    device: str,
) -> FilterSearch:
    """The bank, a fixed random subset of the training images, and their Bayes directions.

    Accuracy does not count: on training images a network that knows them by heart loses more than on new ones.

    Args:
        data: of the study, at its own size.
        closed, network: the scores.
        targets: of the directions that are measured.
        working: the size that scores live at.
        sigma: noise level of the directions.
        device: where it is computed.
    """
    scores = {target: network if target.startswith(NETWORK) else closed for target in targets}
    known = {target: score for target, score in scores.items() if score is not None}
    return FilterSearch.prepared(known, data.train, sigma, device=device, working=None if working.whole else working)


def filter_outcome(best: BestFilters, trial: Trial) -> dict[str, Any]:
    """What the outcome of a filtered trial says of its filter: the name, how it was chosen, and from what."""
    target, table = TARGETS[trial.name], best.to_json()
    return {
        "filter": best.chosen[target],
        "slack": table["slack"][target],
        "chosen_on": {"images": len(best.images), "digest": best.data},
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
