"""What the tasks of a study work with: its data, scores, tangent spaces and networks, each loaded once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tangency.errors import ModelError, RunError, quoted
from tangency.evaluate.entries import fields_json
from tangency.evaluate.filters import FilterSearch, FilterSource
from tangency.evaluate.fitting.closed import Estimators, estimators, exact_world
from tangency.evaluate.fitting.tangents import study_tangents
from tangency.files import write_json
from tangency.measures import Calibration, ComparisonSource, Subject, validation_images
from tangency.models import read_classifier
from tangency.objectives import Objective
from tangency.score import Denoiser, load_score
from tangency.study.generation.bench import GenerationBench
from tangency.study.given import load_given
from tangency.study.guides import Guide, guide_data, guides_of, load_study_data
from tangency.study.layout import Layout, weights_file
from tangency.study.plan import BAYES, Trial, directions
from tangency.study.planning import StudyPlan
from tangency.study.work.filtering import filter_search, filtered
from tangency.tangents import Ground, TangentEstimator
from tangency.types import Dataset
from tangency.worlds import BayesClassifier


class Workbench:
    """What a process needs for the tasks of one study; loaded when first used, then kept."""

    def __init__(self, plan: StudyPlan, run: Path, device: str) -> None:
        self.plan, self.spec, self.layout, self.device = plan, plan.spec, Layout(run), device
        self._calibrations: dict[str, Calibration] = {}  # by identity of the rows
        self._guides: dict[Guide, TangentEstimator | Denoiser] = {}

    @cached_property
    def data(self) -> Dataset:
        """The data set of the study, the one that it was planned for."""
        data = load_study_data(self.spec.data, self.spec.guide_fraction)
        if (data.train.digest, data.test.digest) != self.plan.digests:
            raise RunError(f"data '{self.spec.data}': holds other images than when the study began; run it again.")
        return data

    @cached_property
    def shown(self) -> Dataset:
        """The data at the working size, where score and tangent spaces live."""
        return self.plan.working.dataset(self.data)

    @property
    def score_file(self) -> Path:
        """Where the closed form stands, once it is fitted."""
        return self.layout.score(self.plan.score_hash)

    @cached_property
    def estimators(self) -> Estimators:
        """The score and the tangent spaces, from the run directory or the world."""
        return estimators(self.spec.score, self.spec.data, self.shown, self.score_file, self.device)

    @cached_property
    def source(self) -> ComparisonSource:
        """References for batches of test images."""
        score, own = self.estimators
        ground = Ground(self.shown, self.device, self.network or score)
        return ComparisonSource(
            score,
            study_tangents(self.spec.tangents, own, ground, self.layout.artefacts),
            self.shown.test,
            self.shown.train,
            self.plan.measures,
            self.device,
            self.network if self.plan.measures.network_targets else None,  # else it is for generation alone
            self.data.test,
        )

    @cached_property
    def network(self) -> Denoiser | None:
        """The trained score that gradients are compared with too, where the spec names one."""
        reference = self.spec.network_score
        return load_score(reference, self.shown, self.device) if reference else None

    @cached_property
    def guide_ground(self) -> Ground:
        """What guides are fitted to."""
        return Ground(guide_data(self.data), self.device)

    def guide(self, guide: Guide) -> TangentEstimator | Denoiser:
        """A guide, from the run directory where it is fitted."""
        if guide not in self._guides:
            self._guides[guide] = guide.open(self.guide_ground, self.layout.artefacts)
        return self._guides[guide]

    def objective(self, objective: Objective, seed: int) -> Objective:
        """The objective of a trial of this seed, its guides bound."""
        guides: dict[str, Any] = {guide.kind: self.guide(guide) for guide in guides_of([objective])}
        return objective.guided(**guides, images=self.data.train, seed=seed, device=self.device)

    @cached_property
    def filters(self) -> FilterSource:
        """Filters of the training images."""
        return FilterSource(self.data.train, self.device)

    @cached_property
    def filter_search(self) -> FilterSearch:
        """What the filters of every seed are chosen with."""
        closed, sigma = self.estimators[0], max(self.plan.measures.sigmas)
        targets, working = directions(self.spec), self.plan.working
        return filter_search(self.data, closed, self.network, targets, working, sigma, self.device)

    @cached_property
    def generation(self) -> GenerationBench:
        """What pictures are made and judged with."""
        return GenerationBench(self, self.classifier)

    def subject(self, trial: Trial) -> Subject:
        """The classifier of a trial with its temperature where a scalar needs one, which is kept beside its rows."""
        net = self.classifier(trial)
        if not self.plan.measures.calibrated:
            return Subject(net)
        if trial.measure_hash not in self._calibrations:
            own = Calibration.of(net, validation_images(self.data.test), torch.zeros((), device=self.device))
            write_json(self.layout.calibration(trial), fields_json(own))
            self._calibrations[trial.measure_hash] = own
        return Subject(net, temperature=self._calibrations[trial.measure_hash].temperature)

    def classifier(self, trial: Trial) -> nn.Module:
        """The network of a trial: last or best as the spec says, maybe filtered, or given; or the Bayes rule."""
        if trial.name == BAYES:
            return BayesClassifier(exact_world(self.spec.data).to(self.device))
        if trial.given is not None:
            return load_given(trial.given.reference, self.data, self.device).classifier
        if trial.base is not None:
            return filtered(self.classifier(trial.base), trial, self.layout, self.filters)
        path = weights_file(self.layout.trial(trial), self.spec.weights)
        try:
            return read_classifier(path, self.device)
        except ModelError as error:
            raise RunError(
                f"{quoted(error)} Or remove the folder '{path.parent}' to train this trial again."
            ) from error
