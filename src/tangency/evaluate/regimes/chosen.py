"""The filters before a saved baseline: chosen once on training images, then kept beside the rows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from tangency.evaluate.entries import fields_json
from tangency.evaluate.filters import FilterSearch
from tangency.files import write_json
from tangency.measures import WorkingSize
from tangency.measures.config import LARGE
from tangency.score import Denoiser
from tangency.types import LabelledImages, OnProgress

SCHEMA = 1  # of the bank and the search
_IMAGES, _FEW, _FEWEST = 500, 100, 2
_UNDIRECTED = (
    "No Bayes direction is measured (the cosine of the margin's gradient with one, from a score of classes), so that "
    "Bayes-aligned cannot be shown; see --score and --metrics."
)
_UNTRAINED = (
    "The data have fewer than 2 training images, on which a filter before the baseline would be chosen, so that "
    "Bayes-aligned cannot be shown."
)
_LARGE = "The images are large: the filters before the baseline were chosen on {count} training images only."


@dataclass(frozen=True)
class ChosenFilters:
    """The best fixed linear filter before a baseline for each Bayes direction.

    Args:
        names: direction to the filter.
        slack: direction to the L by which another filter may exceed it.
        images: how many training images it was chosen on.
        note: why there is none for any direction, or what else to know, in a sentence; "" for nothing.
    """

    names: dict[str, str] = field(default_factory=dict)
    slack: dict[str, float] = field(default_factory=dict)
    images: int = 0
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in files."""
        return fields_json(self)


@dataclass(frozen=True)
class FilterSetting:
    """What filters are chosen with: training images, scores by direction, σ, working size and device."""

    train: LabelledImages
    scores: Mapping[str, Denoiser]
    sigma: float
    working: WorkingSize
    device: str


def chosen_filters(
    net: nn.Module, setting: FilterSetting, folder: Path, identity: str, on_progress: OnProgress | None
) -> ChosenFilters:
    """The best filters before a network, from the folder if they were chosen there before.

    Args:
        net: the baseline.
        setting: of the search.
        folder: of the rows.
        identity: hash of the network and of all that scores rest on.
        on_progress: called with what is done, and the share.
    """
    train, large = setting.train, setting.train.shape[1] * setting.train.shape[2] > LARGE
    if not setting.scores:
        return ChosenFilters(note=_UNDIRECTED)
    count = min(_FEW if large else _IMAGES, len(train))
    if count < _FEWEST:
        return ChosenFilters(note=_UNTRAINED)
    parts = [SCHEMA, identity, count, train.digest, setting.sigma, *setting.scores]
    path = folder / f"filters-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}.json"
    if known := _read(path):
        return known
    if on_progress is not None:
        on_progress(f"Bayes directions of {count} training images, for filters before the baseline", 0.0)
    working = None if setting.working.whole else setting.working
    search = FilterSearch.prepared(
        setting.scores, train, setting.sigma, count=count, device=setting.device, working=working
    )
    words = f"filters before the baseline, {len(search.bank)} on {count} training images"
    best = search.best(
        net, device=setting.device, on_share=None if on_progress is None else partial(on_progress, words)
    )
    note = _LARGE.format(count=count) if large else ""
    chosen = ChosenFilters(dict(best.chosen), dict(best.slack), count, note)
    write_json(path, chosen.to_json())
    return chosen


def _read(path: Path) -> ChosenFilters | None:
    """What was chosen before; None where nothing was, or where the file is damaged."""
    try:
        known = ChosenFilters(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    slack = {target: math.inf if each is None else each for target, each in known.slack.items()}
    return dataclasses.replace(known, slack=slack)
