"""What summary.json says of generation: quality of each trial and cell, references, and the join to alignment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tangency.evaluate.numbers import TrialNumbers, as_json
from tangency.evaluate.regimes import FRACTION, STANDARD
from tangency.statistics import Estimate, PairedBootstrap, SeedBootstrap
from tangency.statistics.resamples import Array
from tangency.study.generation_collect import Generated
from tangency.study.generation_config import WITH_TRUTH
from tangency.study.generation_join import Cell, peaks, rank_correlations
from tangency.study.generation_judged import ABOUT, chance
from tangency.study.generation_options import task_settings
from tangency.study.generation_shards import Told, identity
from tangency.study.plan import REFERENCES, Trial, cell_of, judge_model
from tangency.study.spec import StudySpec
from tangency.types import Dataset

KID = "kid"
# Quality of a task, the first of which is what the report draws first.
_RESTORED = ("psnr_gain", "psnr", "ssim", "lpips")
_MADE = ("judge_accuracy", "judge_confidence", KID)
_COUNTED = ("stalled", "diverged", "stopped", "reached")
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
    spec: StudySpec, data: Dataset, planned: Sequence[Trial], found: Sequence[Generated], joined: Joined
) -> dict[str, Any]:
    """The entry "generation" of summary.json."""
    model = judge_model(spec)
    judge: dict[str, Any] = (
        {"reference": spec.judge.reference}
        if spec.judge.reference
        else {"architecture": model.architecture, "options": model.options, "seed": spec.judge.seed}
    )
    entries = [_entry(spec, data, planned, one, joined) for one in found]
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
    wanted = _RESTORED if task in WITH_TRUTH else _MADE
    if task in ("inpaint", "superres"):
        wanted = ("psnr", "psnr_gain", "ssim", "lpips")
    return {name: "lower" if name in ("lpips", KID) else "higher" for name in wanted if name in keys}


def _entry(spec: StudySpec, data: Dataset, planned: Sequence[Trial], one: Generated, joined: Joined) -> dict[str, Any]:
    """One entry of `generate:`."""
    classes = len(data.test.classes)
    boot = PairedBootstrap(len(one.entry.ids), spec.replicates, seed_of(one.entry.own))
    trials = [trial for trial in planned if trial.id in one.trials]
    draws = {t.id: trial_draws(one.trials[t.id], boot, (one.entry.own, t.train_hash)) for t in trials}
    told = [_trial(trial, one.trials[trial.id], draws[trial.id], classes) for trial in trials]
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
        "trials": told,
        "cells": [_cell(cell, one, trials, classes) for cell in cells],
        "alignment": joined.alignment,
        "correlations": rank_correlations(trained, list(better), others, STANDARD),
        "peaks": peaks(trained, better, others, STANDARD),
        "unavailable": {name: why for told_ in one.trials.values() for name, why in told_.unavailable.items()}
        | _absent(one),
    }


def _absent(one: Generated) -> dict[str, str]:
    """References that were asked for, and why there are none."""
    config, made = one.entry.config, one.references.how
    why = {"bayes": "there is no mixture, neither of a world nor a fitted one, whose Bayes rule it would be"}
    if config.task in (*WITH_TRUTH, "generate"):
        why["mixture"] = "there is none, neither of a world nor a fitted one"
        why["score"] = "the study has no network_score that does this task"
    return {name: why[name] for name in config.references if name in why and name not in made}


def trial_draws(
    told: Told, boot: PairedBootstrap, whose: tuple[str, ...], source: str = "classifier"
) -> dict[str, Array]:
    """Draws (1 + B,) of each measure; of KID, normal ones with its standard error, seeded by who made the pictures."""
    columns = _columns(told, source)
    found = {name: boot.mean(values) for name, values in columns.items() if name in ABOUT}
    numbers = told.sets.get(source, {})
    if KID in numbers:
        spread = np.random.default_rng(seed_of(*whose, source)).standard_normal(1 + boot.resamples.rows)
        spread[0] = 0
        found[KID] = numbers[KID] + numbers["kid_standard_error"] * spread
    return found


def _columns(told: Told, source: str) -> dict[str, Array]:
    rows = told.rows.filter(told.rows["source"] == source)
    parts = rows.partition_by("measure", as_dict=True, maintain_order=True)
    return {str(name): part["value"].to_numpy().astype(np.float64) for (name,), part in parts.items()}


def _estimates(told: Told, draws: Mapping[str, Array], classes: int, source: str) -> dict[str, Any]:
    columns, numbers = _columns(told, source), told.sets.get(source, {})
    found = {}
    for name, values in draws.items():
        finite = numbers["pictures"] if name == KID else int(np.isfinite(columns[name]).sum())
        total = finite if name == KID else len(columns[name])
        found[name] = as_json(Estimate.of(values, finite, total - finite), chance=chance(name, classes))
    return found


def _counts(told: Told, source: str) -> dict[str, int]:
    columns = _columns(told, source)
    return {name: int(columns[name].sum()) for name in _COUNTED if name in columns}


def _trial(trial: Trial, told: Told, draws: Mapping[str, Array], classes: int) -> dict[str, Any]:
    return {
        "id": trial.id,
        "objective": trial.name,
        "strength": trial.strength,
        "seed": trial.seed,
        "measures": _estimates(told, draws, classes, "classifier"),
        "set": told.sets.get("classifier", {}),
        "counts": _counts(told, "classifier"),
    }


def _references(one: Generated, boot: PairedBootstrap, classes: int) -> dict[str, Any]:
    told, found = one.references, {}
    for source, how in told.how.items():
        draws = trial_draws(told, boot, (one.entry.own,), source)
        measures = _estimates(told, draws, classes, source)
        found[source] = {"how": how, "measures": measures, "set": told.sets.get(source, {})}
        found[source]["counts"] = _counts(told, source)
    return found


def _cells(
    spec: StudySpec, trials: Sequence[Trial], draws: Mapping[str, Mapping[str, Array]], joined: Joined
) -> list[Cell]:
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
        cells.append(Cell(name, curves[group[0].id], group[0].strength, joined.regimes.get(name), pooled))
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


def _cell(cell: Cell, one: Generated, trials: Sequence[Trial], classes: int) -> dict[str, Any]:
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
        "measures": {name: told for name, told in measures.items() if name in ABOUT or name == KID},
        "excess": {name: told for name, told in measures.items() if name not in ABOUT and name != KID},
    }
