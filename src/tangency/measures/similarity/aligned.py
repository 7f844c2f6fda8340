"""The rows of one classifier's alignments: every quantity against its targets, and against the controls."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tangency.measures.config import MeasureConfig, unique
from tangency.measures.quantities import is_map, quantity_directions
from tangency.measures.references import References
from tangency.measures.similarity.alignment import pair_key
from tangency.measures.similarity.spectral import phase_randomised
from tangency.seeding import Draw

Columns = dict[str, Tensor]


def aligned(
    model: nn.Module, directions: Mapping[str, Tensor], references: References, config: MeasureConfig
) -> Columns:
    """Each gradient or map against its own score, another image's scores, and with its phases drawn anew.

    Args:
        model: classifier, asked for the gradients of the gallery where CKA is measured.
        directions: quantity to (N, C, H, W).
        references: of the batch.
        config: what is measured.
    """
    columns: Columns = {}
    comparer, ids = references.comparer, references.ids
    for quantity in unique(name for name, _ in config.alignments):
        values = directions[quantity]
        phased = phase_randomised(values, Draw(config.seed, ids, "phase"))
        signal, phases = comparer.signal(values), comparer.signal(phased, "phase")
        gallery = _at_gallery(model, quantity, references, config)
        for target in unique(target for name, target in config.alignments if name == quantity):
            for sigma in config.sigmas:
                key, own = pair_key(quantity, target, sigma), references.targets[target, sigma]
                columns |= comparer.columns(signal, own, key) | comparer.columns(phases, own, key, "phase")
                columns |= _of_set(references, (values, gallery), own.values, (target, sigma), ids, key)
                if references.gallery is not None:
                    columns |= references.gallery.retrieved(phased, own.values, (target, sigma), ids, ids, key, "phase")
                for control, (owners, scores) in references.others.items():
                    other = scores.get((target, sigma))
                    if other is None:  # a trained score, which this control was not asked of
                        continue
                    columns |= comparer.columns(signal, other, key, control)
                    columns |= _of_set(
                        references, (values, gallery), other.values, (target, sigma), owners, key, control
                    )
    return columns


def _at_gallery(model: nn.Module, quantity: str, references: References, config: MeasureConfig) -> Tensor | None:
    """The quantity at the images of the gallery, where CKA needs it; a map that is given is not known there."""
    held = references.gallery
    if held is None or "cka" not in held.metrics or is_map(quantity):
        return None
    parts = [
        quantity_directions(model, x, y, ids, [quantity], config.attributions, {})[quantity]
        for x, y, ids in zip(*(t.split(len(references.x)) for t in (held.x, held.y, held.ids)), strict=True)
    ]
    return references.working.gradient(torch.cat(parts))


def _of_set(
    references: References,
    directions: tuple[Tensor, Tensor | None],
    score: Tensor,
    target: tuple[str, float],
    owners: Tensor,
    key: str,
    control: str = "",
) -> Columns:
    """Rows of the metrics that compare with the gallery; `owners` are the images whose score `score` is."""
    held, (values, gallery) = references.gallery, directions
    if held is None:
        return {}
    columns = held.retrieved(values, score, target, references.ids, owners, key, control)
    if gallery is not None and control in ("", "shuffled"):
        columns |= held.kernels((values, gallery), score, target, references.ids, owners, key, control)
    return columns
