"""Generation, restoration and change of images by a classifier's gradients, beside references, and judged."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tangency.devices import arithmetic
from tangency.evaluate.classifiers.saved import check_fits
from tangency.evaluate.entries import fields_json, to_json
from tangency.evaluate.generation.judges import (
    REPLICATES,
    JudgeQuality,
    PictureMeasures,
    judge_quality,
    measure_outcome,
)
from tangency.evaluate.generation.numbers import SetNumbers, SourceNumbers, long_table
from tangency.evaluate.generation.qualities import ABOUT
from tangency.files import atomic, write_json
from tangency.generation.tasks.config import GenerationConfig, refuse_unguided, task_settings
from tangency.generation.tasks.inputs import OWN, Outcome, TaskInputs, joined
from tangency.generation.tasks.prepare import class_gaussians, fitted_to, mixture_for, picture_ids, task_inputs
from tangency.generation.tasks.table import TASKS, perform
from tangency.mixtures import Mixture
from tangency.models import Classifier
from tangency.score import Denoiser
from tangency.statistics import PairedBootstrap
from tangency.types import Dataset, OnProgress

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class GenerationSummary:
    """All that follows from the pictures of one task.

    Args:
        task: its name.
        data: name of the data set.
        classes: their names.
        count: pictures of each source.
        budget: evaluations for each picture that references get at most.
        settings: options that the task has and uses.
        how: source to how its pictures were made, in words.
        sources: source to its numbers.
        unavailable: measures that could not be taken, and why.
        frame_steps: steps done at each frame.
        judged_by: how good the judge is; None for none.
        seconds: what it took.
        names: of model, judge and score, where they are known.
    """

    task: str
    data: str
    classes: tuple[str, ...]
    count: int
    budget: int
    settings: dict[str, Any]
    how: dict[str, str]
    sources: dict[str, SourceNumbers]
    unavailable: dict[str, str]
    frame_steps: tuple[int, ...]
    judged_by: JudgeQuality | None
    seconds: float
    names: dict[str, str | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What summary.json holds."""
        kept = ("task", "data", "count", "budget", "settings", "unavailable", "seconds")
        sources = {name: {"how": self.how[name], **fields_json(own)} for name, own in self.sources.items()}
        return {name: getattr(self, name) for name in kept} | {
            "sources": sources,
            "about": {name: dataclasses.asdict(about) for name, about in ABOUT.items()},
            "frame_steps": list(self.frame_steps),
            "classes": list(self.classes),
            "judged_by": to_json(self.judged_by),
            **self.names,
        }


@dataclass(frozen=True)
class Generated:
    """Pictures, one row an image, and the numbers that follow.

    Args:
        results: the numbers.
        ids: (N,) numbers of the images.
        columns: source to column to (N,) float64.
        pictures: source to (N, C, H, W) float32, "truth", "input" and "classifier" among them.
        y: (N,) classes that pictures are meant to show, −1 for none.
        frames: (F, n, C, H, W) iterates of the classifier, of the first images, 64 at most.
    """

    results: GenerationSummary
    ids: Tensor
    columns: dict[str, dict[str, Tensor]]
    pictures: dict[str, Tensor]
    y: Tensor
    frames: Tensor

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        return self.results.to_json()

    def write(self, out: Path) -> None:
        """Write rows.parquet and summary.json."""
        with atomic(out / "rows.parquet") as temporary:
            self.frame().write_parquet(temporary)
        write_json(out / "summary.json", self.summary)

    def frame(self) -> polars.DataFrame:
        """Long table: image, class, source, measure, value."""
        return long_table(self.ids, self.y, self.columns)

    def arrays(self) -> dict[str, np.ndarray]:
        """Pictures by source, and "frames", "labels", for pages."""
        tensors = self.pictures | {"frames": self.frames, "labels": self.y}
        return {name: values.cpu().numpy() for name, values in tensors.items()}


@arithmetic()
def generate_with(
    classifier: Classifier,
    data: Dataset,
    config: GenerationConfig,
    *,
    judge: Classifier | None = None,
    score: Denoiser | None = None,
    mixture: Mixture | None = None,
    device: str = "cpu",
    on_progress: OnProgress | None = None,
) -> Generated:
    """One task with one classifier, and the measures of its pictures.

    Args:
        classifier: whose gradients are followed; left as it was.
        data: images of its shape and classes; world images are not confined to [0, 1].
        config: the task.
        judge: a classifier of another architecture and seed; None for none.
        score: for the reference "score"; None for none.
        mixture: of the images, for references and as a judge; fitted to 5,000 training images where None, and left out
            where the images have more than 4,096 pixels.
        device: where.
        on_progress: called with what is being done, and the share that is done.
    """
    started = time.monotonic()
    refuse_unguided(config, score is not None)
    for each, what in ((classifier, "model"), (judge, "judge")):
        if each is not None:
            check_fits(each.card, data, what)
    config = fitted_to(config, data)
    mixture = mixture if mixture is not None else mixture_for(data, config.components, config.rank, config.seed, device)
    gaussians = class_gaussians(data, config, device)
    inputs = task_inputs(classifier, data, config, mixture, gaussians, score, device)
    ids = picture_ids(config, data)
    outcome = _performed(inputs, ids, on_progress)
    measures = PictureMeasures(data, classifier, judge, mixture, device)
    columns, sets = measure_outcome(measures, outcome, TASKS[config.task], tuple(outcome.pictures))
    results = GenerationSummary(
        task=config.task,
        data=data.name,
        classes=data.test.classes,
        count=len(ids),
        budget=config.budget,
        settings=task_settings(config),
        how=outcome.how,
        sources={source: _numbers(own, sets.get(source), len(data.test.classes)) for source, own in columns.items()},
        unavailable=measures.unavailable,
        frame_steps=outcome.frame_steps,
        judged_by=None if judge is None else judge_quality(judge, data, device),
        seconds=round(time.monotonic() - started, 2),
    )
    frames = outcome.frames if outcome.frames is not None else torch.zeros(0, *outcome.pictures[OWN].shape)
    return Generated(results, ids, columns, outcome.pictures, outcome.y, frames)


def _numbers(columns: Mapping[str, Tensor], as_set: SetNumbers | None, classes: int) -> SourceNumbers:
    arrays = {name: values.double().cpu().numpy() for name, values in columns.items()}
    boot = PairedBootstrap(len(arrays["evaluations"]), REPLICATES)
    draws = {name: boot.mean(arrays[name]) for name in arrays if name in ABOUT}
    return SourceNumbers.of(arrays, draws, as_set, classes)


def _performed(inputs: TaskInputs, ids: Tensor, on_progress: OnProgress | None) -> Outcome:
    """All batches of the task; `on_progress` is called with the share that is done, the last time before judging."""
    outcomes = []
    for number, part in enumerate(batches := torch.split(ids, inputs.options.batch)):
        if on_progress is not None:
            on_progress(inputs.options.task, number / len(batches) * 0.9)
        outcomes.append(perform(inputs, part))
    if on_progress is not None:
        on_progress("judging", 0.9)
    return joined(outcomes)
