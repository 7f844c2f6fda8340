"""summary.json: the numbers that a script wants, each with its interval."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from tangency.evaluate.generation.judges import JudgeQuality
from tangency.evaluate.numbers import Columns, TrialNumbers, trial_numbers
from tangency.measures import WorkingSize
from tangency.measures.keys import MARGIN, Key
from tangency.statistics import PairedBootstrap
from tangency.study.generation.collect import GeneratedEntry
from tangency.study.generation.summary import Joined, summarise_generation
from tangency.study.plan import Trial, controls_of, working_of
from tangency.study.spec import StudySpec
from tangency.study.summary.cells import cell_entries
from tangency.study.summary.common_curve import common_curves
from tangency.study.summary.correlations import correlations
from tangency.study.summary.entries import SUMMARY_SCHEMA, DataEntry, StudySummary, TangentsEntry
from tangency.study.summary.headline import estimator_entries
from tangency.study.summary.judged import judge
from tangency.study.summary.optimum import about_world, noise_curves
from tangency.study.summary.sweep import Sweep
from tangency.study.summary.trials import Labelled, Results, trial_entries
from tangency.types import Dataset

_PACKAGES = ("tangency", "torch", "torchvision", "accelerate", "numpy", "scipy", "polars", "safetensors", "pydantic")


def summarise(
    spec: StudySpec,
    data: Dataset,
    planned: list[Trial],
    outcomes: dict[str, dict[str, Any]],
    columns: dict[str, Columns],
    score_card: dict[str, Any],
    generated: Sequence[GeneratedEntry] | None = None,
    rated: JudgeQuality | None = None,
) -> dict[str, Any]:
    """Everything of summary.json but the times, which differ from run to run.

    Args:
        spec, data: of the study.
        planned: its trials, those that were trained longer among them.
        outcomes: id to how the training of each ended.
        columns: id to the rows of each that was measured.
        score_card: of the study's score.
        generated: pictures of each entry of `generate`.
        rated: how good the judge of these is.
    """
    trials, longer = [t for t in planned if not t.longer], [t for t in planned if t.longer]
    own = {trial.id: columns[trial.id] for trial in trials if trial.id in columns}
    dimension = math.prod(working_of(spec, data).shape)
    sweep = Sweep.of(spec, data, trials, outcomes, own, dimension)
    results = Results.of(sweep.rows.constant, trials, _numbers(own, spec, dimension, len(data.test.classes)))
    judged = judge(sweep, results, spec, longer, columns)
    joined = _joined(spec, results, judged.cells, own)
    generation = summarise_generation(spec, data, trials, generated, rated, joined) if generated and rated else None
    return StudySummary(
        schema=SUMMARY_SCHEMA,
        name=spec.name,
        spec_hash=spec.digest(),
        data=_about(data, _images(own), working_of(spec, data)),
        score=score_card,
        headline=judged.headline,
        trials=trial_entries(results, outcomes, own, dimension, judged.trials),
        world=about_world(spec),
        noise_curves=noise_curves(spec, results.numbers, results.standard_of()),
        cells=cell_entries(sweep, results, own, judged.cells),
        curves=judged.curves,
        absent=judged.absent,
        common_curves=common_curves(sweep.rows),
        convergence=judged.convergence,
        regimes=judged.rule,
        tangents=_tangents(spec, own),
        generation=generation,
        correlations=correlations(sweep.rows),
        provenance=_provenance(spec, data, planned),
        controls=controls_of(spec.sweep) or None,
    ).to_json()


def _tangents(spec: StudySpec, columns: Mapping[str, Columns]) -> TangentsEntry | None:
    return TangentsEntry(estimators=estimator_entries(spec, columns)) if len(spec.tangents) > 1 else None


def _images(columns: Mapping[str, Columns]) -> int:
    return len(next(iter(columns.values()))["accuracy"])


def _numbers(columns: Mapping[str, Columns], spec: StudySpec, dimension: int, classes: int) -> dict[str, TrialNumbers]:
    boot = PairedBootstrap(_images(columns), spec.replicates)
    return {name: trial_numbers(rows, boot, dimension, classes) for name, rows in columns.items()}


def _joined(
    spec: StudySpec, results: Results, labels: Mapping[str, Labelled], columns: Mapping[str, Columns]
) -> Joined:
    """What generation is compared with."""
    regimes = {name: label.regime for name, label in labels.items()}
    return Joined(columns, results.collapsed, regimes, main_alignment(spec, results.numbers))


def main_alignment(spec: StudySpec, numbers: Mapping[str, TrialNumbers]) -> str:
    """Key of the alignment that generation is compared with; "" where not every trial has it."""
    of = "network_" if spec.score.kind == "none" else ""  # then the trained score's, where there is one
    key = str(Key("alignment_cosine", MARGIN, f"{of}bayes_gradient").at(sigma=max(spec.measures.sigmas)))
    return key if all(key in own.draws for own in numbers.values()) else ""


def _about(data: Dataset, images: int, working: WorkingSize) -> DataEntry:
    return DataEntry(
        name=data.name,
        digest=data.test.digest,
        classes=list(data.test.classes),
        shape=list(data.test.shape),
        train=len(data.train),
        measured=images,
        licence=data.licence,
        working=None if working.whole else working.sentence,
    )


def _provenance(spec: StudySpec, data: Dataset, planned: list[Trial]) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "versions": {name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "python": platform.python_version(),
        "threads": spec.threads,
        "workers": spec.workers,
        "seeds": list(spec.seeds),
        "hashes": {
            "train_data": data.train.digest,
            "test_data": data.test.digest,
            **{f"trial {trial.id}": f"{trial.train_hash} / {trial.measure_hash}" for trial in planned},
        },
    }
