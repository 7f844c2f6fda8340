"""How much a gradient looks like a target: every metric of a pair, under every normalisation, in columns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.measures.config import MeasureConfig
from tangency.measures.keys import Key
from tangency.measures.similarity.metrics import METRICS, metric_family, pair_metric
from tangency.numerics import per_example
from tangency.perceptual.pictures import NORMALISATIONS

Kept = dict[tuple[str, str], Tensor]  # (metric, normalisation or "") to what is compared


@dataclass(frozen=True)
class Signal:
    """A gradient or a score, (N, C, H, W), with what each metric compares of it."""

    values: Tensor
    kept: Kept

    def nan_where(self, mask: Tensor) -> Signal:
        """The same with NaN for the images in mask (N,) bool, which have no such signal."""
        values, *kept = (t.masked_fill(per_example(mask, t), torch.nan) for t in (self.values, *self.kept.values()))
        return Signal(values, dict(zip(self.kept, kept, strict=True)))

    def among(self, places: Tensor, other: Signal) -> Signal:
        """Images of this signal where `places` (N,) bool holds and those of another elsewhere, in their order."""

        def merged(a: Tensor, b: Tensor) -> Tensor:
            whole = a.new_empty((len(places), *a.shape[1:]))
            whole[places], whole[~places] = a, b
            return whole

        kept = {name: merged(rows, other.kept[name]) for name, rows in self.kept.items()}
        return Signal(merged(self.values, other.values), kept)


class Comparer:
    """The metrics of a configuration; holds their networks.

    Args:
        config: metrics, normalisations and the controls of metrics with a network.
        shape: (C, H, W) of the signals.
        device: of the networks.
    """

    def __init__(self, config: MeasureConfig, shape: tuple[int, int, int], device: str | torch.device = "cpu") -> None:
        named = config.metrics if config.alignments else ()  # without a score there is nothing to compare
        self._metrics = {name: pair_metric(name, shape, device) for name in named if not METRICS[name].of_set}
        self._normalisations, self._network_controls = config.normalisations, config.network_controls

    def embeds(self, control: str = "") -> bool:
        """Whether a metric with a network compares it, as target, gradient or a control's stand-in."""
        wanted = not control or control in self._network_controls
        return wanted and any(METRICS[name].network for name in self._metrics)

    def embeddings(self, values: Tensor) -> Kept:
        """What the metrics with a network compare of signals (N, C, H, W)."""
        return self._prepared(values, [name for name in self._metrics if METRICS[name].network])

    def signal(self, values: Tensor, control: str = "", embeddings: Kept | None = None) -> Signal:
        """What is compared of signals (N, C, H, W), as targets and gradients or as a control's stand-in.

        `embeddings` are those of the signals where they are known.
        """
        kept = self._prepared(values, [name for name in self._metrics if not METRICS[name].network])
        if self.embeds(control):
            kept |= self.embeddings(values) if embeddings is None else embeddings
        return Signal(values, kept)

    def _prepared(self, values: Tensor, names: list[str]) -> Kept:
        kept: Kept = {}
        for name in names:
            metric = self._metrics[name]
            if METRICS[name].pictures:
                own = METRICS[name].normalisation
                for normalisation in (own,) if own else self._normalisations:
                    kept[name, normalisation] = metric.prepare(NORMALISATIONS[normalisation](values))
            else:
                kept[name, ""] = metric.prepare(values)
        return kept

    def columns(self, a: Signal, b: Signal, pair: Key) -> dict[str, Tensor]:
        """Every alignment of a pair, (N,) each; what one of the two does not keep is left out.

        `pair` names the quantity, the target and its σ, and the control; families, parts and normalisations are put in.
        """
        columns: dict[str, Tensor] = {}
        for (name, normalisation), kept in a.kept.items():
            other = b.kept.get((name, normalisation))
            if other is None:
                continue
            metric = self._metrics[name]
            usual = ("", self._normalisations[0], METRICS[name].normalisation)
            own = pair.of(metric_family(name)).at(norm="" if normalisation in usual else normalisation)
            for part, column in zip(metric.parts, metric.compare(kept, other).double().unbind(1), strict=True):
                columns[str(dataclasses.replace(own, part=part[1:]))] = column
        return columns


def pair_key(quantity: str, target: str, sigma: float, control: str = "") -> Key:
    """What the alignments of a quantity with a target have in common; the family is each metric's own."""
    return Key("", quantity, target).at(sigma=sigma).under(control)
