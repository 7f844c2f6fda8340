"""Generation in summary.json: quality of each trial and cell, references, and the join to alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from tangency.evaluate.entries import MeasureEntry
from tangency.evaluate.generation.judges import JudgeQuality
from tangency.evaluate.generation.numbers import SourceNumbers
from tangency.evaluate.generation.qualities import ABOUT, KID, Quality, chance
from tangency.evaluate.numbers import TrialNumbers
from tangency.evaluate.verdicts.recipes import STANDARD
from tangency.generation.tasks.config import task_settings
from tangency.generation.tasks.inputs import OWN
from tangency.generation.tasks.table import TASKS
from tangency.measures.keys import FRACTION
from tangency.statistics import Estimate, PairedBootstrap, SeedBootstrap
from tangency.statistics.resamples import Array
from tangency.study.generation.collect import GeneratedEntry
from tangency.study.generation.entries import (
    GeneratedCell,
    GeneratedTrial,
    GenerationEntry,
    JudgeEntry,
    SourceEntry,
    TaskEntry,
)
from tangency.study.generation.join import SweepCell, peaks, rank_correlations
from tangency.study.generation.shards import JudgedPictures, identity
from tangency.study.plan import REFERENCES, Trial, cell_of, judge_model
from tangency.study.spec import StudySpec
from tangency.types import Dataset

_SETS = {KID: Quality("", "lower", "kernel distance to training images, unbiased; 0 for equal sets")}
METHOD = (
    "Intervals: 95 %. A cell is the mean over seeds; its resamples draw seeds with replacement, the same for every "
    "number, then images: those of the pictures, and apart from them those that alignment is measured on. KID is a "
    "number of a whole set: its resamples are normal, with the standard error of both orders of its variance. A rank "
    "correlation resamples cells on top of that; p permutes cells. F² and alignment are less their shuffled control."
)


@dataclass(frozen=True)
class Joined:
    """The measurements of a study that generation is compared with.

    Args:
        numbers: of each trial that was measured.
        collapsed: trials that are not compared.
        regimes: of each cell that has one.
        alignment: key of the headline's alignment; "" where it was not measured.
    """

    numbers: Mapping[str, TrialNumbers]
    collapsed: set[str]
    regimes: Mapping[str, str | None]
    alignment: str


def summarise_generation(
    spec: StudySpec,
    data: Dataset,
    planned: Sequence[Trial],
    generated: Sequence[GeneratedEntry],
    judge: JudgeQuality,
    joined: Joined,
) -> GenerationEntry:
    """The entry "generation" of summary.json."""
    model, saved = judge_model(spec), spec.judge.reference
    return GenerationEntry(
        judge=JudgeEntry(
            reference=saved or None,
            architecture=None if saved else model.architecture,
            options=None if saved else model.options,
            seed=None if saved else spec.judge.seed,
            accuracy=judge.accuracy,
            warning=judge.warning,
        ),
        method=METHOD,
        about=ABOUT | _SETS,
        entries=[_entry(spec, data, planned, one, joined) for one in generated],
    )


def seed_of(*whose: str) -> int:
    """A seed from identities, so that no number depends on the other entries of the spec, or on their order."""
    return int(identity("resamples", whose), 16)


def qualities(task: str, keys: Mapping[str, Any]) -> dict[str, str]:
    """The measures of quality of a task that were taken, each with which way is better."""
    return {name: "lower" if name in ("lpips", KID) else "higher" for name in TASKS[task].qualities if name in keys}


def _entry(spec: StudySpec, data: Dataset, planned: Sequence[Trial], one: GeneratedEntry, joined: Joined) -> TaskEntry:
    """One entry of `generate:`."""
    entry, classes = one.entry, len(data.test.classes)
    boot = PairedBootstrap(len(entry.ids), spec.replicates, seed_of(entry.own))
    trials = [trial for trial in planned if trial.id in one.trials]
    draws = {t.id: trial_draws(one.trials[t.id], boot, (entry.own, t.train_hash)) for t in trials}
    cells = _cells(spec, trials, draws, joined)
    trained = [cell for cell in cells if cell.objective not in REFERENCES]
    better = qualities(entry.config.task, next(iter(draws.values()), {}))
    others = {FRACTION: "F²"} | ({joined.alignment: "alignment"} if joined.alignment else {})
    return TaskEntry(
        name=entry.name,
        task=entry.config.task,
        count=len(entry.ids),
        budget=entry.config.budget,
        settings=task_settings(entry.config),
        qualities=better,
        references={
            source: SourceEntry(
                how=how,
                **_numbers(one.references, trial_draws(one.references, boot, (entry.own,), source), classes, source),
            )
            for source, how in one.references.how.items()
        },
        trials=[
            GeneratedTrial(
                id=trial.id,
                objective=trial.name,
                strength=trial.strength,
                seed=trial.seed,
                **_numbers(one.trials[trial.id], draws[trial.id], classes),
            )
            for trial in trials
        ],
        cells=[_cell(cell, one, trials, classes) for cell in cells],
        alignment=joined.alignment,
        correlations=rank_correlations(trained, list(better), others, STANDARD),
        peaks=peaks(trained, better, others, STANDARD),
        unavailable={name: why for judged in one.trials.values() for name, why in judged.unavailable.items()}
        | _absent(one),
    )


def _absent(one: GeneratedEntry) -> dict[str, str]:
    """Requested references that could not be made, and why."""
    config, made = one.entry.config, one.references.how
    why = {
        "bayes": "there is no mixture, neither of a world nor a fitted one, whose Bayes rule it would be",
        "mixture": "there is none, neither of a world nor a fitted one",
        "score": "the study has no network_score that does this task",
    }
    return {name: why[name] for name in config.references if name not in made}


def trial_draws(
    judged: JudgedPictures, boot: PairedBootstrap, whose: tuple[str, ...], source: str = OWN
) -> dict[str, Array]:
    """Draws (1 + B,) of each measure; of KID, normal ones with its standard error, seeded by who made the pictures."""
    draws = {name: boot.mean(values) for name, values in _columns(judged, source).items() if name in ABOUT}
    distances = judged.sets[source].distances if source in judged.sets else {}
    if KID in distances:
        spread = np.random.default_rng(seed_of(*whose, source)).standard_normal(1 + boot.resamples.rows)
        spread[0] = 0
        draws[KID] = distances[KID] + distances["kid_standard_error"] * spread
    return draws


def _columns(judged: JudgedPictures, source: str) -> dict[str, Array]:
    rows = judged.rows.filter(judged.rows["source"] == source)
    parts = rows.partition_by("measure", as_dict=True, maintain_order=True)
    return {str(name): part["value"].to_numpy().astype(np.float64) for (name,), part in parts.items()}


class _PictureNumbers(TypedDict):
    set: dict[str, str | float]
    measures: dict[str, MeasureEntry]
    counts: dict[str, int]


def _numbers(judged: JudgedPictures, draws: Mapping[str, Array], classes: int, source: str = OWN) -> _PictureNumbers:
    own = SourceNumbers.of(_columns(judged, source), draws, judged.sets.get(source), classes)
    return {"set": own.set.to_json() if own.set else {}, "measures": own.measures, "counts": own.counts}


def _cells(
    spec: StudySpec, trials: Sequence[Trial], draws: Mapping[str, Mapping[str, Array]], joined: Joined
) -> list[SweepCell]:
    """Cells whose every seed was measured and did not collapse, with F² and alignment less their shuffled controls."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(cell_of(trial), []).append(trial)
    cells, curves = [], _curves(trials)
    for name, group in groups.items():
        usable = [trial for trial in group if trial.id in joined.numbers and trial.id not in joined.collapsed]
        # the Bayes rule is one, for all seeds
        if len(usable) != len(spec.seeds) and not (len(group) == 1 and group[0].name in REFERENCES):
            continue
        seeds = SeedBootstrap(len(usable), spec.replicates)
        own = [dict(draws[trial.id]) | _aligned(joined, trial) for trial in usable]
        pooled = {key: seeds.mean(np.stack([one[key] for one in own])) for key in own[0] if all(key in o for o in own)}
        cells.append(SweepCell(name, curves[group[0].id], group[0].strength, joined.regimes.get(name), pooled))
    return cells


def _curves(trials: Sequence[Trial]) -> dict[str, str]:
    """Objective of each trial, with what sets it apart (other options, "pags") where there are several of its name."""
    variants = {t.id: cell_of(t).removeprefix(f"{t.name}-{t.strength:g}") for t in trials if t.objective is not None}
    several = {
        name for name in {t.name for t in trials} if len({variants.get(t.id) for t in trials if t.name == name}) > 1
    }
    return {t.id: t.name + (variants[t.id] if t.name in several and t.id in variants else "") for t in trials}


def _aligned(joined: Joined, trial: Trial) -> dict[str, Array]:
    numbers = joined.numbers[trial.id].draws
    keys = [key for key in (FRACTION, joined.alignment) if f"{key}.shuffled" in numbers]
    return {key: numbers[key] - numbers[f"{key}.shuffled"] for key in keys}


def _cell(cell: SweepCell, one: GeneratedEntry, trials: Sequence[Trial], classes: int) -> GeneratedCell:
    own = [trial.id for trial in trials if cell_of(trial) == cell.id]
    count = len(one.entry.ids) * len(own)
    numbers = {
        name: MeasureEntry.of(Estimate.of(values, count), chance=chance(name, classes))
        for name, values in cell.draws.items()
    }
    known = ABOUT | _SETS
    return GeneratedCell(
        id=cell.id,
        objective=cell.objective,
        strength=cell.strength,
        regime=cell.regime,
        trials=own,
        measures={name: entry for name, entry in numbers.items() if name in known},
        excess={name: entry for name, entry in numbers.items() if name not in known},
    )
