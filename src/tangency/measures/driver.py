"""The one loop over images: what no classifier changes is made once a batch, then each classifier is measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from tangency.autodiff import check_logits, undisturbed
from tangency.data.partners import BLOCK
from tangency.files import journal
from tangency.measures.attributed import Attribution, attributed
from tangency.measures.batching import BatchSize, fitting_batch
from tangency.measures.config import MeasureConfig
from tangency.measures.frames import Frame
from tangency.measures.quantities import check_maps, quantity_directions
from tangency.measures.references import ImageBatch, References, ReferenceSource
from tangency.measures.robustness.attacked import attacked
from tangency.measures.robustness.changes import changes, noise_response
from tangency.measures.robustness.signal import noise_changes, signal_fraction
from tangency.measures.robustness.smoothed import certified, smoothed_gradients
from tangency.measures.rows import Rows
from tangency.measures.similarity.aligned import aligned
from tangency.measures.tables import write_shard
from tangency.numerics import unit

Columns = dict[str, Tensor]
MOST = BLOCK  # images at once where memory holds them


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier, and the attributions that are measured as its gradients are.

    Args:
        classifier: images (N, C, H, W) to logits, in eval mode.
        attributions: name to a function (model, images, labels) -> maps, or to maps (M, C, H, W) or (M, H, W) that are
            indexed as the images of the measurement are.
    """

    classifier: nn.Module
    attributions: Mapping[str, Attribution] = field(default_factory=dict)


@dataclass(frozen=True)
class Driver:
    """Measures subjects image after image, in batches of one size; memory does not grow with the number of images.

    Args:
        source: what gradients are compared with.
        config: what is measured, besides the attributions of single subjects.
        batch_size: images at once.
        batch: from the indices of images (n,) to the images; those of the source's pool by default.
    """

    source: ReferenceSource
    config: MeasureConfig
    batch_size: int
    batch: Callable[[Tensor], ImageBatch] | None = None

    @classmethod
    def fitting(
        cls,
        source: ReferenceSource,
        config: MeasureConfig,
        subjects: Sequence[Subject],
        batch_size: BatchSize = "auto",
        most: int = MOST,
        batch: Callable[[Tensor], ImageBatch] | None = None,
    ) -> Driver:
        """One with the batch size that is given, or for "auto" as many images as memory holds, `most` at most."""
        first = (batch or source.batch)(torch.zeros(1, dtype=torch.int64)).x
        models = [subject.classifier for subject in subjects]
        return cls(source, config, fitting_batch(batch_size, models, first, source.held_bytes, most), batch)

    def rows(self, subjects: Sequence[Subject], index: Tensor) -> Iterator[list[Rows]]:
        """Rows of each subject for one batch of images after the other.

        Args:
            subjects: what is measured; all share references, unless each one's own predictions are the labels.
            index: of the images (n,), in the order in which they are measured.
        """
        for at in torch.split(index, self.batch_size):
            batch = (self.batch or self.source.batch)(at)
            shared = self.source.references(batch, batch.truth) if self.config.label == "true" else None
            yield [self._measured(subject, at, batch, shared) for subject in subjects]

    def _measured(self, subject: Subject, at: Tensor, batch: ImageBatch, shared: References | None) -> Rows:
        model = subject.classifier
        references = shared or self.source.references(batch, chosen_labels(model, batch.x, batch.truth, self.config))
        maps: dict[str, Tensor] = {}
        for name, given in subject.attributions.items():
            if isinstance(given, Tensor):
                maps |= check_maps({name: given[at.to(given.device)]}, batch.x)
            else:
                maps |= attributed(model, batch.x, references.y, {name: given})
        rows = measure_batch(model, references, self.config.with_maps(maps), maps)
        # the controls of maps stand among what all subjects share
        columns = {key: values for key, values in rows.columns.items() if maps or ".map(" not in key}
        return dataclasses.replace(rows, columns=columns)


def write_measured(
    driver: Driver, targets: Mapping[Path, Subject], index: Tensor, on_batch: Callable[[int], None] | None = None
) -> None:
    """Measure some images of several subjects, and write the rows of each to a file of its own.

    Args:
        driver: of the measurement.
        targets: file to subject.
        index: of the images (n,).
        on_batch: called after each batch with the number of its images.
    """
    parts: list[list[Rows]] = []
    for rows in driver.rows(list(targets.values()), index):
        parts.append(rows)
        journal("measure.batch")
        if on_batch is not None:
            on_batch(len(rows[0].ids))
    for path, own in zip(targets, zip(*parts, strict=True), strict=True):
        journal("measure.trial")
        write_shard(path, Rows.concatenate(own))


def chosen_labels(model: nn.Module, x: Tensor, truth: Tensor, config: MeasureConfig) -> Tensor:
    """The y of gradient and score alike: the true label, or the classifier's prediction, (N,)."""
    if config.label == "true":
        return truth
    with undisturbed(model), torch.no_grad():
        return check_logits(model(x.clone()), len(x)).argmax(1)


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
        held = other.fraction(gradient).double().where(usable, torch.nan)
        columns[f"tangent_fraction.{name}{frame.suffix}.{control}"] = held
    columns |= {f"tangent_rank{frame.suffix}.{control}": common for control, common in frame.common.items()}
    return columns
