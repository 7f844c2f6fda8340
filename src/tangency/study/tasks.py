"""The work of a study, cut into tasks that any process can do: fit the score, train a trial, measure a shard."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from tangency.autodiff import input_gradient
from tangency.errors import ModelError, RunError, quoted
from tangency.files import atomic, journal, write_json
from tangency.measures import MeasureConfig, ReferenceSource, Rows, WorkingSize, fitting_batch
from tangency.models import build, load_classifier, save_classifier
from tangency.score import Denoiser, load_score
from tangency.study.fit_tangents import fitted_tangents, study_tangents
from tangency.study.generation.bench import GenerationBench
from tangency.study.layout import Layout, weights_file
from tangency.study.network import examine_network, network_hash
from tangency.study.plan import (
    BAYES,
    Trial,
    judge_model,
    measured_images,
    pictured_images,
    plan_judge,
    plan_trials,
    score_hash,
)
from tangency.study.score import Estimators, estimators, exact_world, fit_score
from tangency.study.single_pictures import closed_pictures
from tangency.study.spec import ModelSpec, StudySpec
from tangency.study.stream import rows_of
from tangency.study.working import measures_at
from tangency.tangents import Ground
from tangency.tensors import write_tensors
from tangency.training import Step, train
from tangency.types import Dataset
from tangency.worlds import BayesClassifier, load_dataset

Progress = Callable[[float], None]


def _share(step: Step) -> float:
    """Share of a training that is done after a step."""
    return ((step.epoch - 1) * step.steps + step.step) / (step.epochs * step.steps)


_MEASURED_AT_ONCE = 25  # images at most: bounds the memory of their LPIPS embeddings, about 20 of 130 kB each


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Args:
        kind: "score", "tangents", "trust", "train", "judge", "measure", "pictures", "generate" or "tell".
        index: of the trial ("train"), of the shard ("measure"), of the estimator ("tangents") or of the entry of
            `generate` ("generate", "tell").
        trials: numbers of the trials that a shard is still to be measured for, that are to be pictured, or whose
            pictures are to be made or judged; none for the references of an entry.
        part: of the batch of pictures ("generate").
        cost: relative to the other tasks of its kind.
    """

    kind: str
    index: int = 0
    trials: tuple[int, ...] = ()
    part: int = 0
    cost: float = 1.0


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
        return estimators(self.spec, self.shown, self.layout.score(score_hash(self.spec, self.data)), self.device)

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

    def do(self, task: Task, progress: Progress) -> None:
        """Do one task; its result is a file that stands, whole, when this returns."""
        if task.kind == "score":
            self._fit_score()
        elif task.kind == "trust":
            examine_network(self.spec, self.layout.trust(network_hash(self.spec, self.data)), self.device)
        elif task.kind == "tangents":
            ground = Ground(self.shown, self.device)
            fitted_tangents(
                self.spec.tangents[task.index], ground, self.layout.artefacts, lambda part, share: progress(share)
            )
        elif task.kind == "train":
            self._train(self.trials[task.index], self.spec.model, progress)
        elif task.kind == "judge":
            judge = plan_judge(self.spec, self.data)
            assert judge is not None  # else there is no such task
            self._train(judge, judge_model(self.spec), progress)
        elif task.kind in ("generate", "tell"):
            trial = self.trials[task.trials[0]] if task.trials else None
            if task.kind == "generate":
                self.generation.make(task.index, trial, task.part)
            else:
                self.generation.tell(task.index, trial)
        elif task.kind == "measure":
            self._measure(measured_images(self.spec, self.data)[task.index], task.trials, progress)
        else:
            self._pictures(task.trials)

    def _fit_score(self) -> None:
        fit_score(self.spec, self.shown, self.layout.score(score_hash(self.spec, self.data)), self.device)

    def _train(self, trial: Trial, model: ModelSpec, progress: Progress) -> None:
        folder, data = self.layout.trial(trial), self.data.train
        identity = {"id": trial.id, "objective": trial.name, "strength": trial.strength, "seed": trial.seed}
        identity |= {"train_hash": trial.train_hash}
        outcome: dict[str, object] = {"outcome": "ok", "seconds": 0.0, "epochs": 0}
        if trial.name == BAYES:
            write_json(self.layout.trial_json(trial), identity | outcome)
            return
        classifier = build(model.architecture, data.shape, data.classes, seed=trial.seed, **model.options).to(
            self.device
        )
        classifier.card = dataclasses.replace(classifier.card, provenance=self._provenance(trial))
        if trial.objective is None:
            save_classifier(classifier, folder / "model.safetensors")
        else:
            config = dataclasses.replace(self.spec.train, seed=trial.seed)
            result = train(
                classifier,
                data,
                trial.objective,
                config,
                folder,
                device=self.device,
                on_step=lambda s: progress(_share(s)),
            )
            outcome = {
                "outcome": result.outcome,
                "seconds": result.seconds,
                "epochs": config.epochs,
                "ended_at": {"epoch": result.epoch, "step": result.step},
                "best": {"epoch": result.best_epoch, "accuracy": result.best_accuracy},
            }
        write_json(self.layout.trial_json(trial), identity | outcome)

    def _provenance(self, trial: Trial) -> dict[str, object]:
        return {
            "objective": trial.name,
            "strength": trial.strength,
            "seed": trial.seed,
            "data": self.spec.data,
            "data_digest": self.data.train.digest,
            "train_hash": trial.train_hash,
            "torch": torch.__version__,
        }

    def classifier(self, trial: Trial) -> nn.Module:
        """The trained network of a trial, last or best as the spec says; or the Bayes rule of the world."""
        if trial.name == BAYES:
            return BayesClassifier(exact_world(self.spec).to(self.device))
        path = weights_file(self.layout.trial(trial), self.spec.weights)
        try:
            return load_classifier(path, self.device)
        except ModelError as error:
            raise RunError(
                f"{quoted(error)} Or remove the folder '{path.parent}' to train this trial again."
            ) from error

    def usable(self, trial: Trial) -> bool:
        """Whether a trial's training ended with finite weights."""
        return bool(self.layout.outcome(trial)["outcome"] == "ok")

    def _measure(self, images: list[int], trials: tuple[int, ...], progress: Progress) -> None:
        chosen, config = [self.trials[number] for number in trials], self.measures
        networks = [self.classifier(trial) for trial in chosen]
        found: list[list[Rows]] = [[] for _ in chosen]
        first = self.data.test.images(torch.tensor(images[:1])).to(self.device)
        size = fitting_batch("auto", networks, first, self.source.held_bytes, _MEASURED_AT_ONCE)
        batches = torch.tensor(images).split(size)
        for done, ids in enumerate(batches, 1):
            for rows, more in zip(found, rows_of(networks, self.data.test, ids, self.source, config), strict=True):
                rows.append(more)
            journal("measure.batch")
            progress(done / (len(batches) + 1))
        for trial, rows in zip(chosen, found, strict=True):
            journal("measure.trial")
            self._write_rows(Rows.concatenate(rows), self.layout.shard(trial, images))

    def _write_rows(self, rows: Rows, path: Path) -> None:
        with atomic(path) as temporary:
            rows.frame().drop("trial", "seed").write_parquet(temporary)

    def _pictures(self, trials: tuple[int, ...]) -> None:
        ids = torch.tensor(pictured_images(self.spec, self.data))
        x, y = self.data.test.images(ids).to(self.device), self.data.test.labels[ids].to(self.device)
        sigma, score = max(self.measures.sigmas), self.estimators[0]
        own, x = x, self.working.reduce(x)
        tensors = {
            "image": x,
            "labels": y,
            **closed_pictures(score, x, y, sigma),
        }
        if self.network is not None:
            asked = set(self.spec.measures.network_targets)
            if "network_bayes_gradient" in asked:
                tensors["network_bayes_gradient"] = self.network.bayes_direction(x, y, sigma).direction
            if "network_score_y" in asked:
                tensors["network_score_y"] = self.network.score(x, sigma, y)
            if "network_score" in asked:
                tensors["network_score"] = self.network.score(x, sigma)
        for number in trials:
            trial = self.trials[number]
            gradient = input_gradient(self.classifier(trial), own, y, "logp_y").direction
            tensors[f"gradient.{trial.id}"] = self.working.gradient(gradient)
        header = {
            "sigma": sigma,
            "scalar": "logp_y",
            "ids": ids.tolist(),
            "measure_hashes": [self.trials[n].measure_hash for n in trials],
        }
        write_tensors(self.layout.pictures, tensors, header)
