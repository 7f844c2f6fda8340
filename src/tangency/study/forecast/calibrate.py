"""What tasks take on this machine, from a few steps of training and a few measured images."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch

from tangency.models import Classifier, build
from tangency.study.forecast.clock import clock_for
from tangency.study.forecast.guides import FewGuides
from tangency.study.forecast.memory import PeakMemory
from tangency.study.forecast.miniature import Miniature
from tangency.study.plan import Trial, curve_of
from tangency.study.planning import StudyPlan
from tangency.study.spec import ModelSpec
from tangency.training import evaluate, train
from tangency.training.loop import TRAIN_ACCURACY_IMAGES
from tangency.types import Dataset

_STEPS = 4  # of a training; the first is not timed
_ENOUGH = 0.25  # seconds of a step, above which a smaller batch stands for the whole one
_EVALUATED = 64  # images at most
_NEVER = 1e9  # seconds between checkpoints
_T = TypeVar("_T")


@dataclass
class TaskTimings:
    """Seconds and bytes of the parts of tasks.

    Args:
        step: of one training step of a whole batch, by `recipe` of the trial.
        epoch: at the end of each epoch: evaluation and checkpoint.
        per_image: of measuring an image for all networks of a task together, and for each of them.
        whole: of a whole task of other kinds, of "pictures" without its networks, of "tangents 0", "guide 0" and
            "sham 0", … by number.
        pass_image: of one forward and backward pass of the network for an image.
        score_pass: of one answer of the trained score for an image.
        memory: peak bytes by kind of task.
    """

    step: dict[str, float] = field(default_factory=dict)
    epoch: float = 0.0
    per_image: tuple[float, float] = (0.0, 0.0)
    whole: dict[str, float] = field(default_factory=dict)
    pass_image: float = 0.0
    score_pass: float = 0.0
    memory: dict[str, int] = field(default_factory=dict)


def calibrate(plan: StudyPlan, data: Dataset, device: str) -> TaskTimings:
    """Train each objective for a few steps, fit and measure a little, as tasks do it; seconds for small networks.

    Args:
        plan: of the study; its trials are trained as they will be, from the middle strength of each objective.
        data: of the study.
        device: where is computed.

    Returns:
        `TaskTimings`; a step that takes long is timed on a smaller batch, and counted for the whole one in proportion.
    """
    calibration = TaskTimings()
    with TemporaryDirectory() as folder, _threads(plan.spec.threads):
        guides = FewGuides(plan, data, Path(folder) / "guides", device)
        calibration.whole = guides.fit()
        _time_training(calibration, guides, data, Path(folder) / "training", device)
        _time_other(calibration, Miniature.of(plan, data, Path(folder) / "run", device), device)
    return calibration


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """As many threads as a worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def recipe(trial: Trial) -> str:
    """Objective and options of a trained trial, whatever its strength, seed and length."""
    return curve_of(trial).removesuffix("-long")


def representatives(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Of each objective with its options, by `recipe`, the trial of the middle strength."""
    curves: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.objective is not None:
            curves.setdefault(recipe(trial), []).append(trial)
    return {curve: sorted(own, key=lambda t: t.strength)[len(own) // 2] for curve, own in curves.items()}


def _network(model: ModelSpec, data: Dataset, device: str) -> Classifier:
    return build(model.architecture, data.train.shape, data.train.classes, seed=0, **model.options).to(device)


def _time_training(calibration: TaskTimings, guides: FewGuides, data: Dataset, folder: Path, device: str) -> None:
    plan, spec = guides.plan, guides.plan.spec
    size = _batch(guides, data, folder, device)
    for curve, trial in representatives(plan.trials).items():
        assert trial.train is not None  # else nothing is trained
        whole = min(trial.train.batch_size, len(data.train))
        with PeakMemory(device) as peak:
            seconds = _step(guides, data, trial, size, folder / trial.train_hash, device)
        calibration.step[curve] = seconds * whole / size
        calibration.memory[f"train {curve}"] = peak.scaled(whole / size)
    network, few = _network(spec.model, data, device), torch.arange(min(_EVALUATED, size * _STEPS, len(data.train)))
    clock = clock_for(device, spec.threads)
    began = clock()
    evaluate(network, data.train, few, torch.device(device))
    held = spec.train.validation_fraction * len(data.train)
    calibration.pass_image = (clock() - began) / len(few)
    calibration.epoch = calibration.pass_image * (min(len(data.train) - held, TRAIN_ACCURACY_IMAGES) + held)


def _batch(guides: FewGuides, data: Dataset, folder: Path, device: str) -> int:
    """The images of a batch that stands for the whole one: 2, 4, 8, …, as long as a standard step is quick."""
    plan = guides.plan
    whole = min(plan.spec.train.batch_size, len(data.train))
    trained = [trial for trial in plan.trials if trial.objective is not None]
    size = min(2, whole)
    while trained and size < whole:
        cheapest = min(trained, key=lambda trial: trial.cost)
        seconds = _step(guides, data, cheapest, size, folder / str(size), device)
        if 2 * seconds > _ENOUGH:
            break
        size = min(whole, size * max(2, min(8, int(_ENOUGH / (2 * max(seconds, 1e-6))))))
    return size


def _step(guides: FewGuides, data: Dataset, trial: Trial, size: int, folder: Path, device: str) -> float:
    """Seconds of one step of a trial on a batch of `size` images."""
    assert trial.objective is not None  # else nothing is trained
    assert trial.train is not None
    assert trial.model is not None
    spec = guides.plan.spec
    config = dataclasses.replace(
        trial.train, epochs=1, batch_size=size, validation_fraction=0.0, checkpoint_seconds=_NEVER
    )
    images = data.train.subset(torch.arange(min(_STEPS * size, len(data.train))))
    clock, ends = clock_for(device, spec.threads), list[float]()
    began = clock()
    train(
        _network(trial.model, data, device),
        images,
        guides.bound(trial.objective),
        config,
        folder,
        device=device,
        on_step=lambda _: ends.append(clock()),
    )
    between = [after - before for before, after in itertools.pairwise(ends)]
    return statistics.median(between) if between else (ends or [clock()])[0] - began


def _time_other(calibration: TaskTimings, small: Miniature, device: str) -> None:
    """Everything but training: what is fitted, filters, pictures, measuring."""

    def watched(kind: str, timed: Callable[[], _T]) -> _T:
        with PeakMemory(device) as peak:
            result = timed()
        calibration.memory[kind] = peak.bytes
        return result

    whole = calibration.whole | {"score": watched("score", small.fit_score)}
    whole |= {f"tangents {i}": seconds for i, seconds in watched("tangents", small.fit_tangents).items()}
    whole |= {"filter": watched("filter", small.choose_filters), "pictures": watched("pictures", small.draw)}
    calibration.whole, calibration.score_pass = whole, small.ask_network()
    calibration.per_image = watched("measure", small.measure)
