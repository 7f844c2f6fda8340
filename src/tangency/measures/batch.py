"""Every measure of one classifier on one batch: gradients, steps on and off the manifold, alignment, with controls."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tangency.autodiff import check_logits, undisturbed
from tangency.measures.config import MeasureConfig
from tangency.measures.frames import Frame
from tangency.measures.quantities import quantity_directions
from tangency.measures.references import References
from tangency.measures.robustness.attacked import attacked
from tangency.measures.robustness.changes import changes, noise_response
from tangency.measures.robustness.signal import noise_changes, signal_fraction
from tangency.measures.robustness.smoothed import certified, smoothed_gradients
from tangency.measures.rows import Rows
from tangency.measures.similarity.aligned import aligned
from tangency.numerics import unit

Columns = dict[str, Tensor]


def measure_batch(
    model: nn.Module, references: References, config: MeasureConfig, maps: Mapping[str, Tensor] | None = None
) -> Rows:
    """Every measure of one classifier on one batch of prepared images, and of maps (N, C, H, W) of them by name."""
    x, working = references.x, references.working
    with undisturbed(model), torch.no_grad():
        # a clone, since a model may overwrite its input in place
        logits = check_logits(model(x.clone()), len(x), max(2, int(references.y.max()) + 1))
        correct = (logits.argmax(1) == references.truth).double()
        columns: Columns = {"accuracy": correct.where(logits.isfinite().all(1), torch.nan)}
        for frame in references.frames:
            columns |= changes(model, logits, references, frame, config)
        columns |= noise_response(model, logits, references, config)
        if references.signal is not None and config.noise_sigmas:
            columns |= noise_changes(model, logits, x, references.ids, references.signal, config)
    columns |= attacked(model, logits, references, config) | certified(model, references, config)
    own = quantity_directions(
        model, x, references.y, references.ids, config.quantities, config.attributions, maps or {}
    )
    directions = {name: working.gradient(gradient) for name, gradient in own.items()}
    for name in config.tangent_scalars:
        for frame in references.frames:
            columns |= _tangency(name, directions[name], frame)
        if references.signal is not None:
            columns |= signal_fraction(name, own[name], references.signal)
        if not working.whole:
            columns[f"working_share.{name}"] = working.kept(own[name])
    for name, gradient in smoothed_gradients(model, references, config).items():
        for frame in references.frames:
            columns |= _tangency(name, working.gradient(gradient), frame)
    columns |= aligned(model, directions, references, config)
    columns |= references.constant
    return Rows(
        references.ids,
        {key: values.double() for key, values in columns.items()},
        math.prod(working.shape),
        logits.shape[1],
    )


def _tangency(name: str, gradient: Tensor, frame: Frame) -> Columns:
    """F² with its controls, the rank, and ln κ = ln[(1 − F²)/(d − k)] − ln[F²/k]."""
    gradient, space, d = unit(gradient), frame.space, frame.space.dimension
    rank = space.trace
    usable = (rank > 0) & (rank < d)
    fraction = space.fraction(gradient).double().where(usable, torch.nan)
    off = space.off_fraction(gradient).double()
    columns = {
        f"tangent_fraction.{name}{frame.suffix}": fraction,
        f"tangent_rank{frame.suffix}": rank,
        f"log_kappa.{name}{frame.suffix}": off.log() - fraction.log() + (rank / (d - rank)).log(),
    }
    for control, other in frame.controls.items():
        found = other.fraction(gradient).double().where(usable, torch.nan)
        columns[f"tangent_fraction.{name}{frame.suffix}.{control}"] = found
    columns |= {f"tangent_rank{frame.suffix}.{control}": common for control, common in frame.common.items()}
    return columns
