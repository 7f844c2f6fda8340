"""The entries of `generate:` on the data of a study: which images, in which batches, under which identity."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from tangency.errors import SpecError, TangencyError, quoted
from tangency.generate import JointLogits
from tangency.mixtures import Mixture
from tangency.models import Classifier
from tangency.score import Denoiser, MixtureScore
from tangency.score.references import fingerprint
from tangency.study.generation import fitted_to, picture_ids, why_no_mixture
from tangency.study.generation_config import GenerationConfig
from tangency.study.generation_judge import judge_identity, refuse_judge
from tangency.study.generation_options import TASKS
from tangency.study.generation_shards import Shards, identity
from tangency.study.generation_shop import Workshop
from tangency.study.generation_spec import entry_names
from tangency.study.generation_tasks import perform
from tangency.study.layout import Layout
from tangency.study.plan import Trial, score_hash
from tangency.study.spec import StudySpec
from tangency.types import Dataset

GENERATION_SCHEMA = 2
_NOT_OWN = ("references", "guidance")  # what no trial's own pictures depend on


@dataclass(frozen=True)
class Entry:
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
        return self.ids.split(self.config.batch)

    def shards(self, layout: Layout, trial: Trial | None) -> Shards:
        """Where the pictures of a trial, or of the references (None), go."""
        return Shards(layout.generated(trial, self.shared if trial is None else identity(trial.train_hash, self.own)))


def plan_entries(spec: StudySpec, data: Dataset) -> list[Entry]:
    """Every entry of the spec, in its order."""
    if not spec.generate:
        return []
    judge = judge_identity(spec, data)
    names, entries = entry_names(spec.generate), list[Entry]()
    for number, (name, asked) in enumerate(zip(names, spec.generate, strict=True)):
        try:
            config = fitted_to(asked, data)
        except SpecError as error:
            raise SpecError(f"generate.{number}.{quoted(error)}") from None
        if config in [entry.config for entry in entries]:
            raise SpecError(f"generate.{number}: asked for more than once, expected entries that differ.")
        told = dataclasses.asdict(config)
        own = {key: value for key, value in told.items() if key not in _NOT_OWN}
        common = [GENERATION_SCHEMA, data.train.digest, data.test.digest, score_hash(spec, data), spec.weights, judge]
        score = fingerprint(spec.network_score) if spec.network_score else ""
        hashes = identity(own, common), identity("references", told, score, common)
        entries.append(Entry(number, name, config, picture_ids(config, data), *hashes))
    return entries


def study_score(spec: StudySpec, own: Denoiser | None, network: Denoiser | None) -> Denoiser | None:
    """The score that stands among the references: the trained one, or the exact law where that is no mixture."""
    return own if network is None and spec.score.kind == "exact" and not isinstance(own, MixtureScore) else network


def references_shop(
    entry: Entry, data: Dataset, mixture: Mixture | None, gaussians: Mixture | None, score: Denoiser | None, device: str
) -> Workshop:
    """What references are made with: no classifier, so that they are the same for all trials."""
    asked, config = set(entry.config.references), entry.config
    smoothing = config.sigma if config.task == "denoise" and not config.blind else 0.0
    bayes = JointLogits(mixture, smoothing) if mixture is not None and "bayes" in asked else None
    return Workshop(
        None,
        data,
        config,
        mixture if "mixture" in asked else None,
        gaussians,
        bayes,
        score if "score" in asked else None,
        device,
    )


def refuse_generation(spec: StudySpec, data: Dataset, network: Classifier) -> None:
    """Raise what generating or judging would raise, before anything is trained."""
    for entry in plan_entries(spec, data):
        config = dataclasses.replace(entry.config, start="noise")
        if "steps" in TASKS[config.task].climb and config.method != "tweedie":
            config = dataclasses.replace(config, climb=dataclasses.replace(config.climb, steps=1))
        try:
            perform(Workshop(network, data, config), entry.ids[:1])
        except TangencyError as error:
            raise SpecError(f"generate.{entry.number}: {quoted(error)}") from error
        if config.task == "generate" and entry.config.start == "class":
            lacking = why_no_mixture(data, 1, entry.config.rank)
            if lacking:
                raise SpecError(f"generate.{entry.number}.{lacking}")
    if spec.generate:
        refuse_judge(spec, data)
