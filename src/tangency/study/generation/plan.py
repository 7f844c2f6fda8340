"""Generation in a study, planned: the entries of `generate:`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import SpecError, TangencyError, quoted
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.inputs import TaskInputs
from tangency.generation.tasks.prepare import fitted_to, picture_ids, starts_from_gaussians, why_no_mixture
from tangency.generation.tasks.table import TASKS, perform
from tangency.models import Classifier
from tangency.score.references import fingerprint
from tangency.study.generation.judge import judge_identity, refuse_judge
from tangency.study.generation.shards import PictureFiles, identity
from tangency.study.generation.spec import entry_names
from tangency.study.layout import Layout
from tangency.study.plan import Trial, score_hash
from tangency.study.spec import StudySpec
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


def plan_entries(spec: StudySpec, data: Dataset, network: str | None = None) -> list[PlannedEntry]:
    """Every entry of the spec, in its order; `network` as of `plan_trials`."""
    if not spec.generate:
        return []
    if network is None:
        network = fingerprint(spec.network_score) if spec.network_score else ""
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
        hashes = identity(own, common), identity("references", options, network, common)
        entries.append(PlannedEntry(number, name, config, picture_ids(config, data), *hashes))
    return entries


def refuse_generation(
    spec: StudySpec, data: Dataset, network: Classifier, entries: Sequence[PlannedEntry], trials: Sequence[Trial]
) -> None:
    """Raise what generating or judging would raise, before anything is trained."""
    for entry in entries:
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
        refuse_judge(spec, data, trials)
