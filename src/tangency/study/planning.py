"""A study on its data, worked out once and handed to every worker process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tangency.evaluate.fitting.tangents import check_tangents
from tangency.evaluate.working import measures_at
from tangency.measures import MeasureConfig, WorkingSize
from tangency.models import build
from tangency.objectives import Objective
from tangency.score.references import fingerprint
from tangency.study.generation.plan import PlannedEntry, plan_entries
from tangency.study.guides import Guide, guide_data, guides_of, sham_hash, shams_of
from tangency.study.network import network_hash
from tangency.study.plan import (
    Trial,
    measured_images,
    pictured_images,
    plan_judge,
    plan_longer,
    plan_trials,
    score_hash,
)
from tangency.study.spec import ModelSpec, StudySpec
from tangency.types import Dataset

HELD = 10**9  # bytes of the networks that one task measures


@dataclass(frozen=True)
class StudyPlan:
    """What a study does on its data; plain data that a process can be given.

    Args:
        spec: the study.
        digests: of its training and test images.
        shown_digest: of its training images at the working size, where tangent spaces are fitted to them.
        measures: what is measured, at the working size of the data.
        working: that size.
        trials: every trial, in the order of the spec.
        longer: the trained ones again, trained twice as long, which the convergence gate chooses from; none without it.
        judge: the held-out classifier that is trained; None where there is none.
        entries: every entry of `generate`.
        shards: indices of the measured images, by shard.
        held: networks that one task measures at most, since it holds all of them at once.
        pictured: indices of the images that the report shows.
        guides: what objectives are given besides numbers.
        guide_digest: of the images that these are fitted to.
        shams: an objective for each sham of tangent spaces, with the identity of its comparison with them.
        score_hash: identity of the closed form.
        network_hash: identity of the trained score and of its examination; "" for none.
    """

    spec: StudySpec
    digests: tuple[str, str]
    shown_digest: str
    measures: MeasureConfig
    working: WorkingSize
    trials: list[Trial]
    longer: list[Trial]
    judge: Trial | None
    entries: list[PlannedEntry]
    shards: list[list[int]]
    held: int
    pictured: list[int]
    guides: list[Guide]
    guide_digest: str
    shams: list[tuple[str, Objective]]
    score_hash: str
    network_hash: str

    @property
    def networks(self) -> list[Trial]:
        """Every trial that may be trained or measured; tasks name them by their number in this list."""
        return [*self.trials, *self.longer]


def plan_study(spec: StudySpec, data: Dataset) -> StudyPlan:
    """Everything that a study decides before it begins.

    Raises:
        TangencyError: tangent spaces do not fit the data, two trials are equal, or a file that is named is not there.
    """
    measures = measures_at(spec.measures, data, spec.data)
    working = measures.working(data.test.shape)
    network = fingerprint(spec.network_score) if spec.network_score else ""
    trials = plan_trials(spec, data, network)
    shown = working.dataset(data) if spec.tangents else data
    check_tangents(spec.tangents, shown)
    return StudyPlan(
        spec=spec,
        digests=(data.train.digest, data.test.digest),
        shown_digest=shown.train.digest,
        measures=measures,
        working=working,
        trials=trials,
        longer=plan_longer(spec, data, network) if spec.convergence else [],
        judge=plan_judge(spec, data),
        entries=plan_entries(spec, data, network),
        shards=measured_images(spec, data),
        held=_held(spec, data, trials),
        pictured=pictured_images(spec, data),
        guides=guides_of(trial.objective for trial in trials),
        guide_digest=guide_data(data).train.digest,
        shams=[(sham_hash(each, data), each) for each in shams_of(trial.objective for trial in trials)],
        score_hash=score_hash(spec, data),
        network_hash=network_hash(network, working.dataset(data) if network else data),
    )


def _held(spec: StudySpec, data: Dataset, trials: Sequence[Trial]) -> int:
    """How many networks of a study weigh a gigabyte; at least one."""
    weights = [_weight(model, data) for model in models_of(spec, trials)]
    weights += [trial.given.weight for trial in trials if trial.given]
    return max(1, HELD // max(weights))


def models_of(spec: StudySpec, trials: Sequence[Trial]) -> list[ModelSpec]:
    """The different networks of a study, its own first."""
    models = [spec.model]
    for trial in trials:
        if trial.model is not None and trial.model not in models:
            models.append(trial.model)
    return models


def _weight(model: ModelSpec, data: Dataset) -> int:
    network = build(model.architecture, data.train.shape, data.train.classes, seed=0, **model.options)
    return sum(value.nbytes for value in network.state_dict().values())
