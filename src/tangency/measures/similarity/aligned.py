"""The rows of one classifier's alignments: every quantity against its targets, and against the controls."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.measures.batch import Batch
from tangency.measures.config import unique
from tangency.measures.definition import Columns, Measure, Scale
from tangency.measures.keys import Key
from tangency.measures.quantities import is_map, quantity_directions
from tangency.measures.similarity.alignment import Signal, pair_key
from tangency.measures.similarity.gallery import TargetKey
from tangency.measures.similarity.metrics import METRICS, as_measure, metric_family


@dataclass(frozen=True)
class _Stood:
    """A quantity of a batch, or what stands in its place.

    Args:
        signal: with what each metric compares of it.
        gallery: the quantity at the images of the gallery, where CKA needs it.
    """

    signal: Signal
    gallery: Tensor | None = None


def aligned(batch: Batch) -> Columns:
    """Each gradient or map against its own score, another image's scores, and with its phases drawn anew."""
    columns: Columns = {}
    config, comparison = batch.config, batch.comparison
    comparer, ids = comparison.comparer, comparison.ids
    for quantity in unique(name for name, _ in config.alignments):
        values = batch.directions[quantity]
        own = _Stood(comparer.signal(values), _at_gallery(batch, quantity))
        phases = _Stood(comparer.signal(batch.phased[quantity], "phase"))
        for target in unique(target for name, target in config.alignments if name == quantity):
            for sigma in config.sigmas:
                place, pair = (target, sigma), pair_key(quantity, target, sigma)
                score = comparison.targets[place]
                columns |= _compared(batch, own, score, ids, pair, place)
                columns |= _compared(batch, phases, score, ids, pair.under("phase"), place)
                for control, (owners, scores) in comparison.others.items():
                    if place in scores:  # a trained score may have no such control
                        columns |= _compared(batch, own, scores[place], owners, pair.under(control), place)
    return columns


def _compared(batch: Batch, stood: _Stood, score: Signal, owners: Tensor, pair: Key, place: TargetKey) -> Columns:
    """Every metric of a quantity and a score of the images at `owners`."""
    comparison, held = batch.comparison, batch.comparison.gallery
    columns = comparison.comparer.columns(stood.signal, score, pair)
    if held is None:
        return columns
    places = comparison.ids, owners
    columns |= held.retrieved(stood.signal.values, score.values, place, places, pair)
    if stood.gallery is not None and pair.control in ("", "shuffled"):
        columns |= held.kernels((stood.signal.values, stood.gallery), score.values, place, places, pair)
    return columns


def _at_gallery(batch: Batch, quantity: str) -> Tensor | None:
    """The quantity at the images of the gallery, where CKA needs it; a map that is given is not known there."""
    held = batch.comparison.gallery
    if held is None or "cka" not in held.metrics or is_map(quantity):
        return None
    options, temperature = batch.config.attributions, batch.temperature
    parts = [
        quantity_directions(batch.model, x, y, ids, [quantity], options, {}, temperature)[quantity]
        for x, y, ids in zip(*(torch.split(t, len(batch.x)) for t in (held.x, held.y, held.ids)), strict=True)
    ]
    return batch.comparison.working.gradient(torch.cat(parts))


MEASURES = {
    **{metric_family(name): as_measure(name, aligned) for name in METRICS.own},
    "direction_agreement": Measure(
        "cosine of the closed form's Bayes direction with the trained score's",
        Scale("cosine", -1, 1, "cosine, −1 to 1; σ in [0, 1] pixel units; the same for every classifier"),
        "neither",
        level=0.0,
        fixed=True,
        heading="Agreement of the two Bayes directions",
        what="Cosine of the closed form's Bayes direction with the trained score's, of one image at noise σ.",
        chance="0 for unrelated directions",
        reading="how far one direction of two estimators can be believed: neither is a ceiling for gradients",
    ),
}
