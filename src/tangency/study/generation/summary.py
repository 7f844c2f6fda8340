"""What summary.json says of generation: quality of each trial and cell, references, and the join to alignment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tangency.evaluate.generation.qualities import ABOUT, COUNTED, chance
from tangency.evaluate.numbers import TrialNumbers, as_json
from tangency.evaluate.regimes import STANDARD
from tangency.generation.tasks.config import task_settings
from tangency.generation.tasks.table import TASKS
from tangency.measures.keys import FRACTION
from tangency.statistics import Estimate, PairedBootstrap, SeedBootstrap
from tangency.statistics.resamples import Array
from tangency.study.generation.collect import GeneratedEntry
from tangency.study.generation.join import SweepCell, peaks, rank_correlations
from tangency.study.generation.shards import JudgedPictures, identity
from tangency.study.plan import REFERENCES, Trial, cell_of, judge_model
from tangency.study.spec import StudySpec
from tangency.types import Dataset

KID = "kid"
METHOD = (
    "Intervals: 95 %. A cell is the mean over seeds; its resamples draw seeds with replacement, the same for every "
    "number, then images: those of the pictures, and apart from them those that alignment is measured on. KID is a "
    "number of a whole set: its resamples are normal, with the standard error of both orders of its variance. A rank "
    "correlation resamples cells on top of that; p permutes cells. F² and alignment are less their shuffled control."
)


@dataclass(frozen=True)
class Joined:
    """What generation is joined to.

    Args:
        numbers: of each trial that was measured.
        collapsed: trials that are not compared.
        regimes: of each cell, where it is judged.
        alignment: key of the headline's alignment; "" where it was not measured.
        judge: how good the judge is, as `judge_quality` has it.
    """

    numbers: Mapping[str, TrialNumbers]
    collapsed: set[str]
    regimes: Mapping[str, str | None]
    alignment: str
    judge: Mapping[str, Any]


def summarise_generation(
    spec: StudySpec, data: Dataset, planned: Sequence[Trial], generated: Sequence[GeneratedEntry], joined: Joined
) -> dict[str, Any]:
    """The entry "generation" of summary.json."""
    model = judge_model(spec)
    judge: dict[str, Any] = (
        {"reference": spec.judge.reference}
        if spec.judge.reference
        else {"architecture": model.architecture, "options": model.options, "seed": spec.judge.seed}
    )
    entries = [_entry(spec, data, planned, one, joined) for one in generated]
    about = {name: dataclasses.asdict(what) for name, what in ABOUT.items()}
    about[KID] = {
        "unit": "",
        "better": "lower",
        "words": "kernel distance to training images, unbiased; 0 for equal sets",
    }
    return {"judge": judge | dict(joined.judge), "method": METHOD, "about": about, "entries": entries}


def seed_of(*whose: str) -> int:
    """A seed from identities, so that no number depends on what else the spec asks for, or in which order."""
    return int(identity("resamples", whose), 16)


def qualities(task: str, keys: Mapping[str, Any]) -> dict[str, str]:
    """The measures of quality of a task that were taken, each with which way is better."""
    return {name: "lower" if name in ("lpips", KID) else "higher" for name in TASKS[task].qualities if name in keys}


def _entry(
    spec: StudySpec, data: Dataset, planned: Sequence[Trial], one: GeneratedEntry, joined: Joined
) -> dict[str, Any]:
    """One entry of `generate:`."""
    classes = len(data.test.classes)
    boot = PairedBootstrap(len(one.entry.ids), spec.replicates, seed_of(one.entry.own))
    trials = [trial for trial in planned if trial.id in one.trials]
    draws = {t.id: trial_draws(one.trials[t.id], boot, (one.entry.own, t.train_hash)) for t in trials}
    trial_numbers = [_trial(trial, one.trials[trial.id], draws[trial.id], classes) for trial in trials]
    cells = _cells(spec, trials, draws, joined)
    trained = [cell for cell in cells if cell.objective not in REFERENCES]
    better = qualities(one.entry.config.task, next(iter(draws.values()), {}))
    others = {FRACTION: "F²"} | ({joined.alignment: "alignment"} if joined.alignment else {})
    return {
        "name": one.entry.name,
        "task": one.entry.config.task,
        "count": len(one.entry.ids),
        "budget": one.entry.config.budget,
        "settings": task_settings(one.entry.config),
        "qualities": better,
        "references": _references(one, boot, classes),
        "trials": trial_numbers,
        "cells": [_cell(cell, one, trials, classes) for cell in cells],
        "alignment": joined.alignment,
        "correlations": rank_correlations(trained, list(better), others, STANDARD),
        "peaks": peaks(trained, better, others, STANDARD),
        "unavailable": {name: why for judged in one.trials.values() for name, why in judged.unavailable.items()}
        | _absent(one),
    }


def _absent(one: GeneratedEntry) -> dict[str, str]:
    """References that were asked for, and why there are none."""
    config, made = one.entry.config, one.references.how
    why = {
        "bayes": "there is no mixture, neither of a world nor a fitted one, whose Bayes rule it would be",
        "mixture": "there is none, neither of a world nor a fitted one",
        "score": "the study has no network_score that does this task",
    }
    return {name: why[name] for name in config.references if name not in made}


def trial_draws(
    judged: JudgedPictures, boot: PairedBootstrap, whose: tuple[str, ...], source: str = "classifier"
) -> dict[str, Array]:
    """Draws (1 + B,) of each measure; of KID, normal ones with its standard error, seeded by who made the pictures."""
    columns = _columns(judged, source)
    draws = {name: boot.mean(values) for name, values in columns.items() if name in ABOUT}
    numbers = judged.sets.get(source, {})
    if KID in numbers:
        spread = np.random.default_rng(seed_of(*whose, source)).standard_normal(1 + boot.resamples.rows)
        spread[0] = 0
        draws[KID] = numbers[KID] + numbers["kid_standard_error"] * spread
    return draws


def _columns(judged: JudgedPictures, source: str) -> dict[str, Array]:
    rows = judged.rows.filter(judged.rows["source"] == source)
    parts = rows.partition_by("measure", as_dict=True, maintain_order=True)
    return {str(name): part["value"].to_numpy().astype(np.float64) for (name,), part in parts.items()}


def _estimates(judged: JudgedPictures, draws: Mapping[str, Array], classes: int, source: str) -> dict[str, Any]:
    columns, numbers = _columns(judged, source), judged.sets.get(source, {})
    estimates = {}
    for name, values in draws.items():
        finite = numbers["pictures"] if name == KID else int(np.isfinite(columns[name]).sum())
        total = finite if name == KID else len(columns[name])
        estimates[name] = as_json(Estimate.of(values, finite, total - finite), chance=chance(name, classes))
    return estimates


def _counts(judged: JudgedPictures, source: str) -> dict[str, int]:
    columns = _columns(judged, source)
    return {name: int(columns[name].sum()) for name in COUNTED if name in columns}


def _trial(trial: Trial, judged: JudgedPictures, draws: Mapping[str, Array], classes: int) -> dict[str, Any]:
    return {
        "id": trial.id,
        "objective": trial.name,
        "strength": trial.strength,
        "seed": trial.seed,
        "measures": _estimates(judged, draws, classes, "classifier"),
        "set": judged.sets.get("classifier", {}),
        "counts": _counts(judged, "classifier"),
    }


def _references(one: GeneratedEntry, boot: PairedBootstrap, classes: int) -> dict[str, Any]:
    judged, sources = one.references, {}
    for source, how in judged.how.items():
        draws = trial_draws(judged, boot, (one.entry.own,), source)
        measures = _estimates(judged, draws, classes, source)
        sources[source] = {"how": how, "measures": measures, "set": judged.sets.get(source, {})}
        sources[source]["counts"] = _counts(judged, source)
    return sources


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


def _cell(cell: SweepCell, one: GeneratedEntry, trials: Sequence[Trial], classes: int) -> dict[str, Any]:
    own = [trial.id for trial in trials if cell_of(trial) == cell.id]
    count = len(one.entry.ids) * len(own)
    measures = {
        name: as_json(Estimate.of(values, count), chance=chance(name, classes)) for name, values in cell.draws.items()
    }
    return {
        "id": cell.id,
        "objective": cell.objective,
        "strength": cell.strength,
        "regime": cell.regime,
        "trials": own,
        "measures": {name: numbers for name, numbers in measures.items() if name in ABOUT or name == KID},
        "excess": {name: numbers for name, numbers in measures.items() if name not in ABOUT and name != KID},
    }
