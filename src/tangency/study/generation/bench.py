"""Generation as tasks of a study: a batch of pictures by one trial or by the references, then the judging of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Protocol

from torch import nn

from tangency.evaluate.fitting.closed import Estimators
from tangency.evaluate.generation.judges import PictureMeasures, measure_outcome
from tangency.files import journal
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.inputs import OWN, TaskInputs, joined
from tangency.generation.tasks.prepare import mixture_for, starts_from_gaussians, task_inputs
from tangency.generation.tasks.table import TASKS, perform
from tangency.mixtures import Mixture
from tangency.models import Classifier
from tangency.score import Denoiser, MixtureScore
from tangency.study.generation.judge import load_judge
from tangency.study.layout import Layout
from tangency.study.plan import Trial
from tangency.study.planning import StudyPlan
from tangency.types import Dataset
from tangency.worlds import GaussianCore, world_of


class StudyParts(Protocol):
    """What generation needs of a study; each part may be loaded when it is first used."""

    plan: StudyPlan
    layout: Layout
    device: str

    @property
    def data(self) -> Dataset:
        """The data set."""

    @property
    def estimators(self) -> Estimators:
        """The score and the tangent spaces."""

    @property
    def network(self) -> Denoiser | None:
        """The trained score, where the spec names one."""


@dataclass
class GenerationBench:
    """What a process needs to generate and to judge; loaded when first used, then kept.

    Args:
        study: its parts.
        networks: gives the classifier of a trial.
    """

    study: StudyParts
    networks: Callable[[Trial], nn.Module]

    @cached_property
    def judge(self) -> Classifier:
        """The held-out classifier."""
        plan = self.study.plan
        return load_judge(plan.spec, plan.judge, self.study.device, self.study.data, self.study.layout)

    @cached_property
    def measures(self) -> dict[int, PictureMeasures]:
        """By entry; they differ in their mixture only, and share the features of real images."""
        first = PictureMeasures(self.study.data, None, self.judge, None, self.study.device)
        return {entry.number: first.of(None, self.mixture(entry.config)) for entry in self.study.plan.entries}

    def mixture(self, config: GenerationConfig) -> Mixture | None:
        """The exact one of a world of Gaussians, else that of the study's score, else one that is fitted now."""
        world = world_of(self.study.plan.spec.data)
        own = self.study.estimators[0]
        if isinstance(own, MixtureScore) and not (world is not None and isinstance(world.core, GaussianCore)):
            return own.mixture
        return self._fitted(config.components, config.rank, config.seed)

    def _gaussians(self, config: GenerationConfig) -> Mixture | None:
        return self._fitted(1, config.rank, config.seed) if starts_from_gaussians(config) else None

    @cached_property
    def _fitted(self) -> Callable[[int, int, int], Mixture | None]:
        """Mixtures by components, rank and seed, each fitted once."""
        return cache(partial(mixture_for, self.study.data, device=self.study.device))

    @property
    def _score(self) -> Denoiser | None:
        """The score that stands among the references: the trained one, or the exact law where that is no mixture."""
        own, network = self.study.estimators[0], self.study.network
        exact = self.study.plan.spec.score.kind == "exact" and not isinstance(own, MixtureScore)
        return own if network is None and exact else network

    def make(self, number: int, trial: Trial | None, part: int) -> None:
        """Make one batch of pictures of an entry, by a trial or by the references (None)."""
        entry, data, device = self.study.plan.entries[number], self.study.data, self.study.device
        gaussians = self._gaussians(entry.config)
        if trial is None:  # no classifier, so that references are the same for all trials
            mixture = self.mixture(entry.config)
            inputs = task_inputs(None, data, entry.config, mixture, gaussians, self._score, device)
        else:
            inputs = TaskInputs(self.networks(trial), data, entry.config, class_gaussians=gaussians, device=device)
        outcome = perform(inputs, entry.batches[part])
        journal("generate.batch")
        entry.files(self.study.layout, trial).write(part, outcome)

    def rate(self, number: int, trial: Trial | None) -> None:
        """Judge all pictures of an entry, and keep rows and a few of them."""
        entry, study = self.study.plan.entries[number], self.study
        files = entry.files(study.layout, trial)
        outcome = joined([files.read(part, study.device) for part in range(len(entry.batches))])
        network = None if trial is None else self.networks(trial)
        measures = self.measures[number].of(network, self.measures[number].mixture)
        sources = tuple(outcome.pictures) if trial is None else (OWN,)
        columns, sets = measure_outcome(measures, outcome, TASKS[entry.config.task], sources)
        journal("generate.judged")
        files.write_judged(entry.ids, outcome, columns, sets, measures.unavailable)
