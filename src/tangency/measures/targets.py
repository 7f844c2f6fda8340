"""What gradients are compared with: the scores of images and of their partners, each evaluated once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from tangency.data.partners import BLOCK
from tangency.measures.config import NETWORK, MeasureConfig
from tangency.measures.held import Held, Values
from tangency.measures.similarity.alignment import Comparer, Kept, Signal
from tangency.measures.similarity.gallery import TargetKey
from tangency.score import Denoiser
from tangency.types import LabelledImages

_ROWS = 3 * BLOCK  # images whose targets are kept: those of a block, and partners from elsewhere
_KEPT = 1 << 29  # bytes of all targets together
_VALUES = "values"


class Targets:
    """Scores of the images of a pool by (target, σ), with what each metric compares of them.

    Args:
        score, network: the closed form and the trained score; None where no target is one of theirs.
        pool: the images, at the size of scores.
        config: which targets, and which controls are compared by metrics with a network.
        comparer: the metrics.
        device: where scores are evaluated.
    """

    def __init__(
        self,
        score: Denoiser | None,
        network: Denoiser | None,
        pool: LabelledImages,
        config: MeasureConfig,
        comparer: Comparer,
        device: torch.device,
    ) -> None:
        self.score, self.network, self.pool, self.config = score, network, pool, config
        self.comparer, self.device = comparer, device

    @property
    def keys(self) -> Iterator[TargetKey]:
        """Every (target, σ)."""
        return ((name, sigma) for name in self.config.targets for sigma in self.config.sigmas)

    def of(self, x: Tensor, y: Tensor) -> dict[TargetKey, Signal]:
        """Targets of any images (N, C, H, W) with labels y (N,)."""
        return {key: self.comparer.signal(self.evaluate(key, x, y)) for key in self.keys}

    def at(self, ids: Tensor, y: Tensor) -> dict[TargetKey, Signal]:
        """Targets of images of the pool (N,), with labels y (N,) that need not be theirs."""
        own = y == self._labels(ids)
        if bool(own.all()):
            return {key: self._signal(key, ids) for key in self.keys}
        x = self._images(ids)
        if not bool(own.any()):
            return self.of(x, y)
        others = {key: self.comparer.signal(self.evaluate(key, x[~own], y[~own])) for key in self.keys}
        return {key: self._signal(key, ids[own]).among(own, other) for key, other in others.items()}

    def of_partners(self, control: str, ids: Tensor, usable: Tensor) -> dict[TargetKey, Signal]:
        """Targets of other images (N,) of the pool with their own labels; NaN where there is no other."""
        of_networks = control in self.config.network_controls
        keys = [key for key in self.keys if of_networks or not key[0].startswith(NETWORK)]
        return {key: self._signal(key, ids, control).nan_where(~usable) for key in keys}

    def evaluate(self, key: TargetKey, x: Tensor, y: Tensor) -> Tensor:
        """One target of images (N, C, H, W), (N, C, H, W)."""
        name, sigma = key
        score = self.network if name.startswith(NETWORK) else self.score
        assert score is not None  # else `config` has no such target
        if name.endswith("bayes_gradient"):
            return score.bayes_direction(x, y, sigma).direction
        return score.score(x, sigma, y if name.endswith("score_y") else None)

    def _signal(self, key: TargetKey, ids: Tensor, control: str = "") -> Signal:
        values, embeddings = self._held[key]
        held = embeddings.at(ids) if self.comparer.embeds(control) else {}
        kept: Kept = {_metric(name): rows for name, rows in held.items()}
        return self.comparer.signal(values.at(ids)[_VALUES], control, kept)

    @cached_property
    def _held(self) -> dict[TargetKey, tuple[Held, Held]]:
        return {key: self._made(key) for key in self.keys}

    def _made(self, key: TargetKey) -> tuple[Held, Held]:
        """Where a target's values are kept, and what metrics with a network compare of them."""

        def evaluated(ids: Tensor) -> Values:
            return {_VALUES: self.evaluate(key, self._images(ids), self._labels(ids))}

        def embedded(ids: Tensor) -> Values:
            kept = self.comparer.embeddings(values.at(ids)[_VALUES])
            return {_NAMES.join(metric): rows for metric, rows in kept.items()}

        most = _KEPT // max(1, 2 * len(list(self.keys)))
        values, embeddings = (Held(make, len(self.pool), _ROWS, most) for make in (evaluated, embedded))
        return values, embeddings

    def _images(self, ids: Tensor) -> Tensor:
        return self.pool.images(ids.cpu()).to(self.device)

    def _labels(self, ids: Tensor) -> Tensor:
        return self.pool.labels[ids.cpu()].to(ids.device)


_NAMES = " "  # between the name of a metric and of its normalisation


def _metric(name: str) -> tuple[str, str]:
    metric, _, normalisation = name.partition(_NAMES)
    return metric, normalisation
