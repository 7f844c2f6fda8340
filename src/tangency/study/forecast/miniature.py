"""A study in miniature: its own tasks on a few images and untrained networks, to be timed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tangency.evaluate.fitting.tangents import unfinished
from tangency.evaluate.trust.score import conditional_only
from tangency.study.forecast.clock import clock_for
from tangency.study.generation.spec import JudgeSpec
from tangency.study.layout import Layout
from tangency.study.planning import StudyPlan, plan_study
from tangency.study.spec import StudySpec
from tangency.study.sweep import STANDARD, SweepEntry
from tangency.study.work.bench import Workbench
from tangency.study.work.tasks import Task, do_task
from tangency.types import Dataset

_SEEDS = (0, 1, 2)  # of untrained networks, two for each
_SIZES = (2, 8, 25)  # images that are measured at once
_PER_CLASS = 16  # images that are fitted to, at least
_FILTERED = (1, 4)  # images of each class that filters are chosen on
_FILTERS_ON = 500  # images that a study chooses them on
_ASKED, _SIGMA = 32, 0.25  # images and noise level that a trained score is timed at
_LONG = 8.0  # seconds for which something is timed, about


class GivenBench(Workbench):
    """A workbench on data that are given, in place of those of its plan."""

    def __init__(self, plan: StudyPlan, run: Path, device: str, data: Dataset) -> None:
        super().__init__(plan, run, device)
        self.__dict__["data"] = data


@dataclass(frozen=True)
class Miniature:
    """A study's fits on a few images of each class, and its measures of untrained networks.

    Args:
        plan: with one untrained network in the place of each trained one.
        run: a temporary folder.
        device: where is computed.
        data: of the study.
        per_class: images of each class that are fitted to.
    """

    plan: StudyPlan
    run: Path
    device: str
    data: Dataset
    per_class: int

    @classmethod
    def of(cls, plan: StudyPlan, data: Dataset, run: Path, device: str) -> Miniature:
        """That of a study, with its networks initialised."""
        small = plan_study(_small(plan.spec), data)
        trials = [dataclasses.replace(trial, objective=None) for trial in small.trials]
        order = [image for shard in small.shards for image in shard]
        shards = [order[place * size :][:size] or order[:size] for size in _SIZES for place in (0, 1)]
        small = dataclasses.replace(small, trials=trials, shards=shards)
        per_class = max(_PER_CLASS, 2 * plan.spec.score.components, plan.spec.score.rank + 2)
        made = cls(small, run, device, data, per_class)
        for number, trial in enumerate(trials):
            if trial.base is None:
                do_task(made._bench(data), Task("train", number), _silent)
        return made

    @property
    def networks(self) -> tuple[int, ...]:
        """Numbers of the networks that are there."""
        return tuple(number for number, trial in enumerate(self.plan.trials) if trial.base is None)

    @property
    def few(self) -> Dataset:
        """A few images of each class."""
        return few_images(self.data, self.per_class)

    def _bench(self, data: Dataset) -> Workbench:
        return GivenBench(self.plan, self.run, self.device, data)

    def fit_score(self) -> float:
        """Seconds of the fit of the closed form, to as many images as the study fits it to."""
        whole = min(len(self.data.train), self.plan.spec.score.images)
        return self._extrapolated(Task("score"), (self.per_class, 2 * self.per_class), whole)

    def fit_tangents(self) -> dict[int, float]:
        """Seconds of the fit of each estimator that needs one, by its place in the spec of the study."""
        bench, spec = self._bench(self.few), self.plan.spec
        digest, scale = bench.shown.train.digest, len(self.data.train) / len(self.few.train)
        numbers = unfinished(spec.tangents, digest, bench.layout.artefacts, own=spec.score.kind)
        return {number: scale * _timed(bench, Task("tangents", number)) for number in numbers}

    def choose_filters(self) -> float:
        """Seconds of the choice of a seed's filters; 0 where a study chooses none."""
        numbers = tuple(i for i, trial in enumerate(self.plan.trials) if trial.base and trial.seed == _SEEDS[0])
        if not numbers:
            return 0.0
        whole = min(_FILTERS_ON, len(self.data.train))
        return self._extrapolated(Task("filter", numbers[0], numbers), _FILTERED, whole)

    def draw(self) -> float:
        """Seconds of the pictures of one network."""
        return _timed(self._measuring(), Task("pictures", 0, self.networks[:1]))

    def measure(self) -> tuple[float, float]:
        """Seconds of measuring an image: for all networks of a task together, and for each of them."""
        bench, networks = self._measuring(), self.networks

        def timed(size: int, place: int, measured: tuple[int, ...]) -> float:
            number = 2 * _SIZES.index(size) + place
            return _timed(bench, Task("measure", number, measured)) / len(self.plan.shards[number])

        timed(_SIZES[0], 0, networks[:1])  # loads what later tasks have
        each = timed(_SIZES[0], 1, networks)
        size = max(size for size in _SIZES if size == _SIZES[0] or 2 * size * each <= _LONG)
        one, together = timed(size, 0, networks[:1]), timed(size, 1, networks)
        own = min(one, max((together - one) / (len(networks) - 1), one / 100))
        return one - own, own

    def ask_network(self) -> float:
        """Seconds of one answer of the trained score for an image; 0 where there is none."""
        score = self._bench(self.data).network
        if score is None:
            return 0.0
        clock, few = clock_for(self.device, self.plan.spec.threads), self.plan.working.dataset(self.few).train
        labelled = conditional_only(score)

        def timed(count: int) -> float:
            x, y = few.images(slice(0, count)).to(self.device), few.labels[:count].to(self.device)
            began = clock()
            with torch.no_grad():
                score.denoise(x, _SIGMA, y if labelled else None)
            return (clock() - began) / len(x)

        timed(1)  # the first answer takes longer
        one = timed(1)
        return one if one * _ASKED > _LONG else timed(_ASKED)

    def _extrapolated(self, task: Task, counts: tuple[int, int], whole: int) -> float:
        """Seconds of a task on so many training images, from those on few of each class.

        Where the fewest take long they count in proportion; else that first call, which takes longer, is left out.
        """

        def timed(count: int) -> tuple[int, float]:
            few = few_images(self.data, count)
            return len(few.train), _timed(self._bench(few), task)

        number, seconds = timed(counts[0])
        if seconds > _LONG:
            return seconds * whole / number
        return on_a_line([timed(count) for count in counts], whole)

    def _measuring(self) -> Workbench:
        """On all images, but for training images where tangent spaces have been fitted to the few."""
        tangents, artefacts = self.plan.spec.tangents, Layout(self.run).artefacts
        fitted = unfinished(tangents, self.data.train.digest, artefacts, own=self.plan.spec.score.kind)
        return self._bench(dataclasses.replace(self.few, test=self.data.test) if fitted else self.data)


def _small(spec: StudySpec) -> StudySpec:
    """The standard objective at three seeds beside untrained networks, everything else as it is."""
    changes = {
        "sweep": (SweepEntry(objective=STANDARD, strengths=(0.0,)),),
        "seeds": _SEEDS,
        "untrained": True,
        "bayes": False,
        "convergence": False,
        "generate": (),
        "judge": JudgeSpec(),
        "measured": 2 * max(_SIZES),
    }
    return spec.model_copy(update=changes)


def on_a_line(points: list[tuple[int, float]], whole: int) -> float:
    """Seconds of so many images by the line through two points (images, seconds), which does not fall.

    Example:
        >>> on_a_line([(10, 1.5), (20, 2.5)], 100)
        10.5
    """
    (few, less), (more, seconds) = points
    slope = max(seconds - less, 0.0) / (more - few) if more > few else seconds / more
    return seconds + slope * max(whole - more, 0)


def few_images(data: Dataset, count: int) -> Dataset:
    """The first images of each class, of the test images as many in proportion, and at least one of each."""
    share = max(1, round(count * len(data.test) / len(data.train)))
    parts = [
        split.subset(torch.cat([_members(split.labels, c)[:most] for c in range(len(split.classes))]).sort().values)
        for split, most in ((data.train, count), (data.test, share))
    ]
    return dataclasses.replace(data, train=parts[0], test=parts[1])


def _members(labels: Tensor, label: int) -> Tensor:
    return (labels == label).nonzero().flatten()


def _timed(bench: Workbench, task: Task) -> float:
    clock = clock_for(bench.device, bench.spec.threads)
    began = clock()
    do_task(bench, task, _silent)
    return clock() - began


def _silent(_: float) -> None:
    return None
