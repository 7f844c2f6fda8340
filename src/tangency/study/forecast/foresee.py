"""From a spec and a run folder to what is left to do, and what that takes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tangency.devices import resolve_device
from tangency.measures.config import NETWORK
from tangency.study.forecast.calibrate import TaskTimings, calibrate, recipe
from tangency.study.forecast.entries import Forecast, KindEntry
from tangency.study.forecast.schedule import makespan
from tangency.study.forecast.tasks import foreseen_phases
from tangency.study.forecast.wants import GUIDE, NETWORKS, wanted
from tangency.study.layout import Layout
from tangency.study.plan import UNKNOWN, Trial, plan_trials
from tangency.study.planning import HELD, StudyPlan
from tangency.study.preflight import checked_plan
from tangency.study.spec import StudySpec
from tangency.study.work.tasks import Task
from tangency.types import Dataset, LabelledImages

WORKERS = (1, 8, 64)
_TRUST_PASSES = 24_000  # answers of a trained score for an image that its examination takes, see docs/ledger.md


@dataclass(frozen=True)
class Foreseen:
    """A study before it begins.

    Args:
        trials: of the study; their hashes mean nothing where data are missing, and `measure_hash` where weights are.
        plan: None where the data or the guides of objectives are missing; without the trained score where its weights
            are.
        forecast: what it takes.
    """

    trials: list[Trial]
    plan: StudyPlan | None
    forecast: Forecast


def foresee(spec: StudySpec, run: str | Path, *, calibrated: bool = True) -> Foreseen:
    """Plan a study and say what it takes; nothing is written, and what cannot be had is named, not raised.

    Args:
        spec: the study.
        run: its output folder; what is there is not counted again.
        calibrated: whether a few steps of training and a few measured images are timed.

    Raises:
        TangencyError: the spec and its data do not fit together.

    Example:
        >>> from tangency.study import parse_spec
        >>> data = "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10"
        >>> spec = parse_spec({"data": data, "score": "exact", "sweep": [{"objective": "standard"}]}, "spec")
        >>> [trial.id for trial in foresee(spec, "runs/none", calibrated=False).trials]
        ['untrained-s0', 'standard-0-s0', 'filtered-s0']
    """
    wants, data = wanted(spec)
    if data is None:
        return Foreseen(plan_trials(spec, _stand_in(), UNKNOWN), None, Forecast(wants=wants))
    if any(want.missing for want in wants if want.key == GUIDE):
        return Foreseen(plan_trials(spec, data, UNKNOWN), None, Forecast(wants=wants))
    lacking = any(want.missing for want in wants if want.key == "network_score")
    having = _without_given(spec, [want.reference for want in wants if want.key == NETWORKS and want.missing])
    plan, layout = checked_plan(_without_network(having) if lacking else having, data), Layout(Path(run))
    there = [trial for trial in plan.trials if layout.settled(trial)]
    measured = [t for t in there if all(layout.measured(t, images) for images in plan.shards)]
    forecast = Forecast(wants=wants, trained=len(there), measured=len(measured))
    if calibrated:
        device = resolve_device(spec.device)
        made = calibrate(plan, data, device)
        phases = foreseen_phases(plan, data, layout)
        seconds = [[task_seconds(task, plan, data, made) for task in phase] for phase in phases]
        forecast = dataclasses.replace(
            forecast,
            device=device,
            kinds=_kinds([task for phase in phases for task in phase], plan, data, made),
            wall={workers: makespan(seconds, workers) for workers in WORKERS},
        )
    return Foreseen(plan_trials(spec, data, UNKNOWN) if lacking or having != spec else plan.trials, plan, forecast)


def _stand_in() -> Dataset:
    """Images in the place of those that are missing: names of trials do not depend on them."""
    pixels = torch.zeros(20, 3, 256, 256, dtype=torch.uint8)
    images = LabelledImages(pixels, torch.arange(20) % 10, tuple("0123456789"))
    return Dataset("missing", images, images)


def _without_network(spec: StudySpec) -> StudySpec:
    """The same study without its trained score."""
    kept = tuple(pair for pair in spec.measures.alignments if not pair[1].startswith(NETWORK))
    measures = dataclasses.replace(spec.measures, alignments=kept)
    return spec.model_copy(update={"network_score": "", "measures": measures})


def _without_given(spec: StudySpec, missing: Sequence[str]) -> StudySpec:
    """The same study without given networks that are not there."""
    if not missing:
        return spec
    entries = [e.model_copy(update={"networks": tuple(n for n in e.networks if n not in missing)}) for e in spec.sweep]
    return spec.model_copy(update={"sweep": tuple(entry for entry in entries if entry.networks or entry.objective)})


def _label(task: Task, plan: StudyPlan) -> str:
    if task.kind != "train":
        return task.kind
    trial = plan.networks[task.index]
    return "initialise" if trial.objective is None else f"train {recipe(trial)}"


def task_seconds(task: Task, plan: StudyPlan, data: Dataset, made: TaskTimings) -> float:
    """Of one task on one worker."""
    networks = len(task.trials)
    if task.kind == "train":
        trial = plan.networks[task.index]
        if (train := trial.train) is None:
            return 0.0
        steps = math.ceil(len(data.train) * (1 - train.validation_fraction) / train.batch_size)
        return train.epochs * (steps * made.step[recipe(trial)] + made.epoch)
    if task.kind == "measure":
        shared, each = made.per_image
        return len(plan.shards[task.index]) * (shared + networks * each)
    if task.kind == "pictures":
        return made.whole["pictures"] + networks * len(plan.pictured) * made.pass_image
    if task.kind in ("tangents", "guide", "sham"):
        return made.whole[f"{task.kind} {task.index}"]
    if task.kind in made.whole:
        return made.whole[task.kind]
    if task.kind == "trust":
        return _TRUST_PASSES * made.score_pass
    each = made.per_image[1] if task.kind == "judge_pictures" else made.pass_image
    cost = plan.judge.cost if task.kind == "train_judge" and plan.judge is not None else task.cost
    return cost * each


def _kinds(tasks: Iterable[Task], plan: StudyPlan, data: Dataset, made: TaskTimings) -> tuple[KindEntry, ...]:
    """Tasks by kind, in the order of the phases."""
    grouped: dict[str, list[Task]] = {}
    for task in tasks:
        grouped.setdefault(_label(task, plan), []).append(task)
    entries = []
    for label, own in grouped.items():
        seconds = [task_seconds(task, plan, data, made) for task in own]
        memory = made.memory.get(label)
        if memory is not None and label == "measure":
            memory += max(len(task.trials) for task in own) * HELD // plan.held  # of its networks
        entries.append(
            KindEntry(
                kind=label,
                tasks=len(own),
                seconds=sum(seconds),
                longest=max(seconds),
                memory=memory,
                measured=label == "initialise" or label in made.memory,
            )
        )
    return tuple(entries)
