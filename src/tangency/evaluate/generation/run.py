"""Generation, restoration and change of images by a classifier's gradients, beside references, and judged."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tangency.evaluate.classifiers.saved import check_fits
from tangency.evaluate.generation.judge_quality import judge_quality
from tangency.evaluate.generation.judges import Judges, judge_outcome
from tangency.evaluate.generation.qualities import ABOUT, COUNTED, chance
from tangency.evaluate.generation.rows import long_table
from tangency.evaluate.numbers import as_json
from tangency.generation.tasks.config import GenerationConfig, refuse_unguided, task_settings
from tangency.generation.tasks.inputs import OWN, Outcome, TaskInputs, joined
from tangency.generation.tasks.prepare import class_gaussians, fitted_to, mixture_for, picture_ids, task_inputs
from tangency.generation.tasks.table import perform
from tangency.mixtures import Mixture
from tangency.models import Classifier
from tangency.score import Denoiser
from tangency.statistics import Estimate, PairedBootstrap
from tangency.types import Dataset, OnProgress

if TYPE_CHECKING:
    import polars

_REPLICATES = 2000


@dataclass(frozen=True)
class Generated:
    """Pictures, one row an image, and the numbers that follow.

    Args:
        summary: what summary.json holds.
        ids: (N,) numbers of the images.
        columns: source to column to (N,) float64.
        pictures: source to (N, C, H, W) float32, "truth", "input" and "classifier" among them.
        y: (N,) classes that pictures are meant to show, −1 for none.
        frames: (F, n, C, H, W) iterates of the classifier, of the first images, 64 at most.
    """

    summary: dict[str, Any]
    ids: Tensor
    columns: dict[str, dict[str, Tensor]]
    pictures: dict[str, Tensor]
    y: Tensor
    frames: Tensor

    def frame(self) -> polars.DataFrame:
        """Long table: image, class, source, measure, value."""
        return long_table(self.ids, self.y, self.columns)

    def arrays(self) -> dict[str, np.ndarray]:
        """Pictures by source, and "frames", "labels", for pages."""
        arrays = {source: pictures.cpu().numpy() for source, pictures in self.pictures.items()}
        return arrays | {"frames": self.frames.cpu().numpy(), "labels": self.y.cpu().numpy()}


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
    """One task with one classifier, and all judges.

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
    judges = Judges(data, classifier, judge, mixture, device)
    columns, sets = judge_outcome(judges, outcome, config, tuple(outcome.pictures))
    summary = _summary(outcome, columns, sets, judges, config, data)
    summary["judged_by"] = None if judge is None else judge_quality(judge, data, device)
    summary["seconds"] = round(time.monotonic() - started, 2)
    frames = outcome.frames if outcome.frames is not None else torch.zeros(0, *outcome.pictures[OWN].shape)
    return Generated(summary, ids, columns, outcome.pictures, outcome.y, frames)


def _performed(inputs: TaskInputs, ids: Tensor, on_progress: OnProgress | None) -> Outcome:
    """All batches of the task; `on_progress` hears how many are done, and that judging comes next."""
    outcomes = []
    for number, part in enumerate(batches := torch.split(ids, inputs.options.batch)):
        if on_progress is not None:
            on_progress(inputs.options.task, number / len(batches) * 0.9)
        outcomes.append(perform(inputs, part))
    if on_progress is not None:
        on_progress("judging", 0.9)
    return joined(outcomes)


def _summary(
    outcome: Outcome,
    columns: Mapping[str, Mapping[str, Tensor]],
    sets: Mapping[str, Mapping[str, Any]],
    judges: Judges,
    config: GenerationConfig,
    data: Dataset,
) -> dict[str, Any]:
    boot, classes = PairedBootstrap(len(outcome.y), _REPLICATES), len(data.test.classes)
    sources = {}
    for source, own in columns.items():
        measures = {
            name: _estimate(boot, values, chance=chance(name, classes)) for name, values in own.items() if name in ABOUT
        }
        counts = {name: int(own[name].sum()) for name in COUNTED if name in own}
        sources[source] = {"how": outcome.how[source], "measures": measures, "counts": counts}
        sources[source] |= {"set": dict(sets[source])} if source in sets else {}
    return {
        "task": config.task,
        "data": data.name,
        "count": len(outcome.y),
        "budget": config.budget,
        "settings": task_settings(config),
        "sources": sources,
        "about": {name: dataclasses.asdict(about) for name, about in ABOUT.items()},
        "unavailable": judges.unavailable,
        "frame_steps": list(outcome.frame_steps),
        "classes": list(data.test.classes),
    }


def _estimate(boot: PairedBootstrap, values: Tensor, **more: Any) -> dict[str, Any]:
    array = values.double().cpu().numpy()
    finite = int(np.isfinite(array).sum())
    return as_json(Estimate.of(boot.mean(array), finite, len(array) - finite), **more)
