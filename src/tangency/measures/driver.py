"""The one loop over images: what no classifier changes is made once a batch, then each classifier is measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from tangency.autodiff import Temperature, check_logits, undisturbed
from tangency.data.partners import BLOCK
from tangency.errors import NumericsError, listed
from tangency.files import journal
from tangency.measures.attributed import Attribution, attributed
from tangency.measures.batch import Batch
from tangency.measures.batching import BatchSize, fitting_batch
from tangency.measures.comparison.source import Comparison, ComparisonSource, ImageBatch
from tangency.measures.config import MeasureConfig
from tangency.measures.definition import Columns
from tangency.measures.quantities import check_maps
from tangency.measures.registry import functions
from tangency.measures.rows import Rows
from tangency.measures.tables import write_shard

MOST = BLOCK  # images at once where memory holds them


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier, and the attributions that are measured as its gradients are.

    Args:
        classifier: images (N, C, H, W) to logits, in eval mode.
        attributions: name to a function (model, images, labels) -> maps, or to maps (M, C, H, W) or (M, H, W) that are
            indexed as the images of the measurement are.
        temperature: of the classifier, see `tangency.autodiff.fit_temperature`; without one its calibrated log p is
            NaN.
    """

    classifier: nn.Module
    attributions: Mapping[str, Attribution] = field(default_factory=dict)
    temperature: Temperature | None = None


@dataclass(frozen=True)
class Driver:
    """Measures subjects image after image, in batches of one size; memory does not grow with the number of images.

    Args:
        source: what gradients are compared with.
        config: what is measured, besides the attributions of single subjects.
        batch_size: images at once.
        batch: from the indices of images (n,) to the images; those of the source's pool by default.
    """

    source: ComparisonSource
    config: MeasureConfig
    batch_size: int
    batch: Callable[[Tensor], ImageBatch] | None = None

    @classmethod
    def fitting(
        cls,
        source: ComparisonSource,
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
            subjects: what is measured; all share a comparison, unless each one's own predictions are the labels.
            index: of the images (n,), in the order in which they are measured.
        """
        for at in torch.split(index, self.batch_size):
            batch = (self.batch or self.source.batch)(at)
            shared = self.source.comparison(batch, batch.truth) if self.config.label == "true" else None
            yield [self._measured(subject, at, batch, shared) for subject in subjects]

    def _measured(self, subject: Subject, at: Tensor, batch: ImageBatch, shared: Comparison | None) -> Rows:
        model = subject.classifier
        comparison = shared or self.source.comparison(batch, chosen_labels(model, batch.x, batch.truth, self.config))
        maps: dict[str, Tensor] = {}
        for name, given in subject.attributions.items():
            if isinstance(given, Tensor):
                maps |= check_maps({name: given[at.to(given.device)]}, batch.x)
            else:
                maps |= attributed(model, batch.x, comparison.y, {name: given})
        rows = measure_batch(model, comparison, self.config.with_maps(maps), maps, subject.temperature)
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
    model: nn.Module,
    comparison: Comparison,
    config: MeasureConfig,
    maps: Mapping[str, Tensor] | None = None,
    temperature: Temperature | None = None,
) -> Rows:
    """Every measure of one classifier on one batch of prepared images, and of maps (N, C, H, W) of them by name.

    Without its temperature a classifier's calibrated log p is NaN.
    """
    batch = Batch(model, comparison, config, maps or {}, temperature)
    columns: Columns = {}
    with undisturbed(model), torch.no_grad():
        for function, family in functions(config.extra).items():
            made = _columns(function(batch), family, len(batch.x))
            if twice := columns.keys() & made.keys():
                raise NumericsError(f"measure '{family}': gives {listed(sorted(twice), 3)}, which another one gives.")
            columns |= made
    columns |= comparison.constant
    return Rows(
        comparison.ids,
        {key: values.detach().double() for key, values in columns.items()},
        math.prod(comparison.working.shape),
        batch.logits.shape[1],
    )


def _columns(made: object, family: str, images: int) -> Columns:
    """What the function of a measure made, as columns; raises unless they are a number for each of some images."""
    columns: Columns = made if isinstance(made, dict) else cast("Columns", {family: made})
    for key, values in columns.items():
        if not isinstance(values, Tensor) or values.shape != (images,) or values.is_complex():
            got = (
                f"{values.dtype} of shape {tuple(values.shape)}"
                if isinstance(values, Tensor)
                else type(values).__name__
            )
            raise NumericsError(
                f"measure '{family}': got {got} for {key}, expected a tensor ({images},) with a number for each image."
            )
    return columns
