"""What the tasks of a study work with: its data, trials, scores, tangent spaces and networks, each loaded once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from torch import nn

from tangency.errors import ModelError, RunError, quoted
from tangency.evaluate.fitting.closed import Estimators, estimators, exact_world
from tangency.evaluate.fitting.tangents import study_tangents
from tangency.evaluate.working import measures_at
from tangency.measures import MeasureConfig, ReferenceSource, WorkingSize
from tangency.models import read_classifier
from tangency.score import Denoiser, load_score
from tangency.study.generation.bench import GenerationBench
from tangency.study.layout import Layout, weights_file
from tangency.study.plan import BAYES, Trial, plan_trials, score_hash
from tangency.study.spec import StudySpec
from tangency.tangents import Ground
from tangency.types import Dataset
from tangency.worlds import BayesClassifier, load_dataset


class Workbench:
    """What a process needs for the tasks of one study; loaded when first used, then kept."""

    def __init__(self, spec: StudySpec, run: Path, device: str) -> None:
        self.spec, self.layout, self.device = spec, Layout(run), device

    @cached_property
    def data(self) -> Dataset:
        """The data set of the study."""
        return load_dataset(self.spec.data)

    @cached_property
    def measures(self) -> MeasureConfig:
        """What is measured, at the working size of the data."""
        return measures_at(self.spec.measures, self.data, self.spec.data)

    @cached_property
    def working(self) -> WorkingSize:
        """Where score and tangent spaces live."""
        return self.measures.working(self.data.test.shape)

    @cached_property
    def shown(self) -> Dataset:
        """The data at the working size."""
        return self.working.dataset(self.data)

    @cached_property
    def trials(self) -> list[Trial]:
        """All trials of the study."""
        return plan_trials(self.spec, self.data)

    @cached_property
    def estimators(self) -> Estimators:
        """The score and the tangent spaces, from the run directory or the world."""
        path = self.layout.score(score_hash(self.spec, self.data))
        return estimators(self.spec.score, self.spec.data, self.shown, path, self.device)

    @cached_property
    def source(self) -> ReferenceSource:
        """References for batches of test images."""
        score, own = self.estimators
        ground = Ground(self.shown, self.device, self.network or score)
        return ReferenceSource(
            score,
            study_tangents(self.spec.tangents, own, ground, self.layout.artefacts),
            self.shown.test,
            self.shown.train,
            self.measures,
            self.device,
            self.network if self.measures.network_targets else None,  # else it is for generation alone
            self.data.test,
        )

    @cached_property
    def network(self) -> Denoiser | None:
        """The trained score that gradients are compared with too, where the spec names one."""
        reference = self.spec.network_score
        return load_score(reference, self.data, self.device) if reference else None

    @cached_property
    def generation(self) -> GenerationBench:
        """What pictures are made and judged with."""
        return GenerationBench(self, self.classifier)

    def classifier(self, trial: Trial) -> nn.Module:
        """The trained network of a trial, last or best as the spec says; or the Bayes rule of the world."""
        if trial.name == BAYES:
            return BayesClassifier(exact_world(self.spec.data).to(self.device))
        path = weights_file(self.layout.trial(trial), self.spec.weights)
        try:
            return read_classifier(path, self.device)
        except ModelError as error:
            raise RunError(
                f"{quoted(error)} Or remove the folder '{path.parent}' to train this trial again."
            ) from error
