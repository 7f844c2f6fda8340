"""What gradients are compared with: the scores of images and of their partners, each evaluated once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from tangency.data.partners import BLOCK
from tangency.measures.comparison.held import Held, Values
from tangency.measures.config import NETWORK, MeasureConfig
from tangency.measures.similarity.alignment import Comparer, Kept, Signal
from tangency.measures.similarity.gallery import TargetKey
from tangency.score import Denoiser
from tangency.score.derived import ScoreOfDenoiser
from tangency.types import LabelledImages

_ROWS = 3 * BLOCK  # images whose targets are kept: those of a block, and partners from elsewhere
_KEPT = 1 << 29  # bytes of all targets together


class Targets:
    """Scores of the images of a pool by (target, σ), with what each metric compares of them.

    Args:
        score, network: the closed form and the trained score; None where no target needs them.
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
        return {key: self.comparer.signal(values) for key, values in self.evaluate(x, y).items()}

    def at(self, ids: Tensor, y: Tensor) -> dict[TargetKey, Signal]:
        """Targets of images of the pool (N,), with labels y (N,) that need not be theirs."""
        own = y == self._labels(ids)
        if bool(own.all()):
            return {key: self._signal(key, ids) for key in self.keys}
        x = self._images(ids)
        if not bool(own.any()):
            return self.of(x, y)
        others = self.of(x[~own], y[~own])
        return {key: self._signal(key, ids[own]).among(own, other) for key, other in others.items()}

    def of_partners(self, control: str, ids: Tensor, usable: Tensor) -> dict[TargetKey, Signal]:
        """Targets of other images (N,) of the pool with their own labels; NaN where there is no other."""
        of_networks = control in self.config.network_controls
        keys = [key for key in self.keys if of_networks or not key[0].startswith(NETWORK)]
        return {key: self._signal(key, ids, control).nan_where(~usable) for key in keys}

    def evaluate(self, x: Tensor, y: Tensor) -> dict[TargetKey, Tensor]:
        """Every target of images (N, C, H, W) with labels y (N,), each (N, C, H, W)."""
        made = {
            (name, sigma): values
            for sigma in self.config.sigmas
            for networks in (False, True)
            for name, values in self._evaluated(networks, sigma, x, y).items()
        }
        return {key: made[key] for key in self.keys}

    def _evaluated(self, networks: bool, sigma: float, x: Tensor, y: Tensor) -> Values:
        """Those of one score and one noise level, together, since they share values of its denoiser."""
        names = self.config.network_targets if networks else self.config.closed_targets
        score = self.network if networks else self.score
        if not names:
            return {}
        assert score is not None  # else `config` has no such target
        if isinstance(score, ScoreOfDenoiser):
            made = score.targets(x, y, sigma, [name.removeprefix(NETWORK) for name in names])
            return {name: made[name.removeprefix(NETWORK)] for name in names}
        return {name: _one(score, name, x, y, sigma) for name in names}

    def _signal(self, key: TargetKey, ids: Tensor, control: str = "") -> Signal:
        held = self._embedded[key].at(ids) if self.comparer.embeds(control) else {}
        kept: Kept = {_metric(name): rows for name, rows in held.items()}
        return self.comparer.signal(self._at(key, ids), control, kept)

    def _at(self, key: TargetKey, ids: Tensor) -> Tensor:
        name, sigma = key
        return self._values[name.startswith(NETWORK), sigma].at(ids)[name]

    @cached_property
    def _values(self) -> dict[tuple[bool, float], Held]:
        """Where the targets of a score and a noise level are kept."""

        def kept(networks: bool, sigma: float) -> Held:
            def make(ids: Tensor) -> Values:
                return self._evaluated(networks, sigma, self._images(ids), self._labels(ids))

            count = len(self.config.network_targets if networks else self.config.closed_targets)
            return Held(make, len(self.pool), _ROWS, self._most * count)

        return {(networks, sigma): kept(networks, sigma) for networks in (False, True) for sigma in self.config.sigmas}

    @cached_property
    def _embedded(self) -> dict[TargetKey, Held]:
        """Where that is kept which metrics with a network compare of targets."""

        def kept(key: TargetKey) -> Held:
            def make(ids: Tensor) -> Values:
                embeddings = self.comparer.embeddings(self._at(key, ids))
                return {_NAMES.join(metric): rows for metric, rows in embeddings.items()}

            return Held(make, len(self.pool), _ROWS, self._most)

        return {key: kept(key) for key in self.keys}

    @property
    def _most(self) -> int:
        return _KEPT // max(1, 2 * len(list(self.keys)))

    def _images(self, ids: Tensor) -> Tensor:
        return self.pool.images(ids.cpu()).to(self.device)

    def _labels(self, ids: Tensor) -> Tensor:
        return self.pool.labels[ids.cpu()].to(ids.device)


def _one(score: Denoiser, name: str, x: Tensor, y: Tensor, sigma: float) -> Tensor:
    if name.endswith("bayes_gradient"):
        return score.bayes_direction(x, y, sigma).direction
    return score.score(x, sigma, y if name.endswith("score_y") else None)


_NAMES = " "  # between the name of a metric and of its normalisation


def _metric(name: str) -> tuple[str, str]:
    metric, _, normalisation = name.partition(_NAMES)
    return metric, normalisation
