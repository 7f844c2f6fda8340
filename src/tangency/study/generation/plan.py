"""Generation in a study, planned: the entries of `generate:`, and the held-out classifier that is their judge."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import RunError, SpecError, TangencyError, quoted
from tangency.evaluate.classifiers.saved import check_fits, find_classifier
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.inputs import TaskInputs
from tangency.generation.tasks.prepare import fitted_to, picture_ids, starts_from_gaussians, why_no_mixture
from tangency.generation.tasks.table import TASKS, perform
from tangency.models import Classifier, build, read_classifier
from tangency.score.references import fingerprint
from tangency.study.generation.shards import PictureFiles, identity
from tangency.study.generation.spec import entry_names
from tangency.study.layout import Layout, weights_file
from tangency.study.plan import Trial, judge_model, plan_judge, plan_trials, score_hash
from tangency.study.spec import StudySpec
from tangency.tensors import digest
from tangency.training import refuse_lone_images
from tangency.types import Dataset

GENERATION_SCHEMA = 2
_NOT_OWN = ("references", "guidance")  # what no trial's own pictures depend on


@dataclass(frozen=True)
class PlannedEntry:
    """One entry of `generate:`.

    Args:
        number, name: in the spec.
        config: for the data of the study.
        ids: (N,) numbers of its pictures, or of the test images that it starts from.
        own: hash of all but the weights that decides what a trial's pictures are and how they are judged.
        shared: hash of all that decides the references.
    """

    number: int
    name: str
    config: GenerationConfig
    ids: Tensor
    own: str
    shared: str

    @property
    def batches(self) -> tuple[Tensor, ...]:
        """What is made at once, and lost at most where a worker dies."""
        return torch.split(self.ids, self.config.batch)

    def files(self, layout: Layout, trial: Trial | None) -> PictureFiles:
        """Where the pictures of a trial, or of the references (None), go."""
        return PictureFiles(
            layout.generated(trial, self.shared if trial is None else identity(trial.train_hash, self.own))
        )


def plan_entries(spec: StudySpec, data: Dataset) -> list[PlannedEntry]:
    """Every entry of the spec, in its order."""
    if not spec.generate:
        return []
    judge = judge_identity(spec, data)
    names, entries = entry_names(spec.generate), list[PlannedEntry]()
    for number, (name, written) in enumerate(zip(names, spec.generate, strict=True)):
        try:
            config = fitted_to(written, data)
        except SpecError as error:
            raise SpecError(f"generate.{number}.{quoted(error)}") from None
        if config in [entry.config for entry in entries]:
            raise SpecError(f"generate.{number}: given more than once, expected entries that differ.")
        options = dataclasses.asdict(config)
        own = {key: value for key, value in options.items() if key not in _NOT_OWN}
        common = [GENERATION_SCHEMA, data.train.digest, data.test.digest, score_hash(spec, data), spec.weights, judge]
        common += [origin] if (origin := TASKS.shared_origin(config.task)) else []
        score = fingerprint(spec.network_score) if spec.network_score else ""
        hashes = identity(own, common), identity("references", options, score, common)
        entries.append(PlannedEntry(number, name, config, picture_ids(config, data), *hashes))
    return entries


def refuse_generation(spec: StudySpec, data: Dataset, network: Classifier) -> None:
    """Raise what generating or judging would raise, before anything is trained."""
    for entry in plan_entries(spec, data):
        config = dataclasses.replace(entry.config, start="noise")
        task = TASKS[config.task]
        if "steps" in task.climb and "climb.steps" not in task.moot(config):
            config = dataclasses.replace(config, climb=dataclasses.replace(config.climb, steps=1))
        try:
            perform(TaskInputs(network, data, config), entry.ids[:1])
        except TangencyError as error:
            raise SpecError(f"generate.{entry.number}: {quoted(error)}") from error
        if starts_from_gaussians(entry.config):
            lacking = why_no_mixture(data, 1, entry.config.rank)
            if lacking:
                raise SpecError(f"generate.{entry.number}.{lacking}")
    if spec.generate:
        refuse_judge(spec, data)


def judge_identity(spec: StudySpec, data: Dataset) -> str:
    """Hash of the judge: of its training, or of its weights where it is a saved one."""
    trial = plan_judge(spec, data)
    if trial is not None:
        return trial.train_hash
    return digest(saved_judge(spec, "cpu", data).module.state_dict())


def saved_judge(spec: StudySpec, device: str, data: Dataset) -> Classifier:
    """The judge that the spec names."""
    try:
        return find_classifier(spec.judge.reference, device, data).classifier
    except TangencyError as error:
        if "--trust-code" in str(error):
            raise SpecError(
                f"judge.reference: '{spec.judge.reference}' runs code that comes with the model, expected weights: a "
                "study takes no judge that is code. Give it as state_dict:FILE?arch=… or onnx:FILE, or leave it out."
            ) from None
        raise SpecError(f"judge.reference: {quoted(error)}") from None


def load_judge(spec: StudySpec, device: str, data: Dataset, layout: Layout) -> Classifier:
    """The saved judge, or the one that the study trained."""
    trial = plan_judge(spec, data)
    if trial is None:
        return saved_judge(spec, device, data)
    return read_classifier(weights_file(layout.trial(trial), spec.weights), device)


def refuse_judge(spec: StudySpec, data: Dataset) -> None:
    """Raise where the judge cannot be built, takes other images, or is one of the trials, according to its card."""
    if not spec.judge.reference:
        _refuse_own(spec, data)
        return
    judge = saved_judge(spec, "cpu", data)
    check_fits(judge.card, data, "judge.reference")
    trained = judge.card.provenance.get("train_hash")
    if trained is not None and trained in {trial.train_hash for trial in plan_trials(spec, data)}:
        raise SpecError(
            f"judge.reference: '{spec.judge.reference}' is a trial of this study, expected another architecture and "
            "seed; or leave it out, and the study trains a judge."
        )


def _refuse_own(spec: StudySpec, data: Dataset) -> None:
    model = judge_model(spec)
    try:
        judge = build(model.architecture, data.train.shape, data.train.classes, seed=0, **model.options)
    except TangencyError as error:
        raise SpecError(f"judge: {quoted(error)}") from error
    if spec.train.batch_size == 1:
        refuse_lone_images(judge)


def refuse_failed_judge(spec: StudySpec, data: Dataset, trials: Sequence[Trial], layout: Layout) -> None:
    """Raise where the training of the judge did not end well, before anything is measured or generated."""
    judge = plan_judge(spec, data)
    outcome = "ok" if judge is None else layout.outcome(judge)["outcome"]
    if outcome == "ok":
        return
    trained = [trial for trial in trials if trial.objective is not None]
    failed = sum(layout.outcome(trial)["outcome"] != "ok" for trial in trained)
    likely = f"; so did {failed} of {len(trained)} trials, so that a learning rate that is too high is likely"
    raise RunError(
        f"judge: its training ended as '{outcome}'{likely if failed else ''}. "
        + ("Lower train.learning_rate." if failed else "Choose another judge.architecture or judge.seed.")
    )
