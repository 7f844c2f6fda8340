"""summary.json: the numbers that a script wants, each with its interval."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from tangency.evaluate.generation.judges import JudgeQuality
from tangency.evaluate.numbers import Columns, TrialNumbers, trial_numbers
from tangency.evaluate.regimes import REGIME_EPSILON, judge_regimes
from tangency.measures.keys import MARGIN, Key
from tangency.statistics import PairedBootstrap, Thresholds
from tangency.study.generation.collect import GeneratedEntry
from tangency.study.generation.summary import Joined, summarise_generation
from tangency.study.plan import Trial, cell_of, working_of
from tangency.study.spec import StudySpec
from tangency.study.summary.cells import cell_entries, cell_numbers
from tangency.study.summary.entries import DataEntry, RegimesEntry, StudySummary
from tangency.study.summary.headline import compare_tangents, correlations, headline, most_tangent
from tangency.study.summary.optimum import about_world, noise_curves
from tangency.study.summary.trials import Results, trial_entries
from tangency.types import Dataset

SUMMARY_SCHEMA = 1
_BANDS = "simultaneous over trials and criteria (bootstrap of max |t|), 95 %"
_REGIMES = "A regime is a statement about a sweep: each trial is judged against the standard network of its seed."
_PACKAGES = ("tangency", "torch", "torchvision", "accelerate", "numpy", "scipy", "polars", "safetensors", "pydantic")


def summarise(
    spec: StudySpec,
    data: Dataset,
    planned: list[Trial],
    outcomes: dict[str, dict[str, Any]],
    columns: dict[str, Columns],
    score_card: dict[str, Any],
    generated: Sequence[GeneratedEntry] | None = None,
    judge: JudgeQuality | None = None,
) -> dict[str, Any]:
    """Everything of summary.json but the times, which differ from run to run."""
    images = len(next(iter(columns.values()))["accuracy"])
    boot, working = PairedBootstrap(images, spec.replicates), working_of(spec, data)
    dimension, classes = math.prod(working.shape), len(data.test.classes)
    numbers = {name: trial_numbers(rows, boot, dimension, classes) for name, rows in columns.items()}
    results = Results.of(data, planned, numbers)
    epsilon = min(spec.measures.epsilons, key=lambda e: abs(e - REGIME_EPSILON))
    change = str(Key("change_on").at(eps=epsilon))
    verdicts, sensitivity = judge_regimes(results.criteria(change))
    main, chosen = _main_alignment(spec, numbers), most_tangent(planned, numbers, verdicts)
    cells = cell_entries(results, change, spec)
    regimes = {cell_of(t): verdicts[t.id].regime for t in planned if t.id in verdicts and len(spec.seeds) == 1}
    joined = Joined(numbers, results.collapsed, regimes | {cell.id: cell.regime for cell in cells}, main)
    return StudySummary(
        schema=SUMMARY_SCHEMA,
        name=spec.name,
        spec_hash=spec.digest(),
        data=_about(data, images, None if working.whole else working.sentence),
        score=score_card,
        headline=headline(chosen, numbers, main) if main and chosen else None,
        trials=trial_entries(results, outcomes, columns, dimension, verdicts, sensitivity),
        world=about_world(spec),
        noise_curves=noise_curves(spec, numbers, results.standard_of()),
        cells=cells,
        regimes=RegimesEntry(thresholds=Thresholds(), epsilon=epsilon, bands=_BANDS, text=_REGIMES),
        tangents=compare_tangents(spec, chosen, numbers, columns) if len(spec.tangents) > 1 else None,
        generation=summarise_generation(spec, data, planned, generated, judge, joined) if generated and judge else None,
        correlations=correlations(cell_numbers(results)),
        provenance=_provenance(spec, data, planned),
    ).to_json()


def _main_alignment(spec: StudySpec, numbers: Mapping[str, TrialNumbers]) -> str:
    """Key of the alignment that the headline is about; "" where not every trial has it."""
    of = "network_" if spec.score.kind == "none" else ""  # then the trained score's, where there is one
    key = str(Key("alignment_cosine", MARGIN, f"{of}bayes_gradient").at(sigma=max(spec.measures.sigmas)))
    return key if all(key in own.draws for own in numbers.values()) else ""


def _about(data: Dataset, images: int, working: str | None) -> DataEntry:
    return DataEntry(
        name=data.name,
        digest=data.test.digest,
        classes=list(data.test.classes),
        shape=list(data.test.shape),
        train=len(data.train),
        measured=images,
        licence=data.licence,
        working=working,
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
