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
from tangency.evaluate.numbers import Columns
from tangency.evaluate.verdicts.recipes import STANDARD
from tangency.generation.tasks.config import task_settings
from tangency.generation.tasks.inputs import OWN
from tangency.generation.tasks.table import TASKS
from tangency.measures.keys import FRACTION
from tangency.statistics import PairedBootstrap
from tangency.statistics.resamples import Array
from tangency.study.generation.cells import RecipeNumbers, SweepCell, distance_of_networks, means_of_networks
from tangency.study.generation.collect import GeneratedEntry
from tangency.study.generation.entries import (
    GeneratedCell,
    GeneratedTrial,
    GenerationEntry,
    JudgeEntry,
    SourceEntry,
    TaskEntry,
)
from tangency.study.generation.join import peaks, rank_correlations
from tangency.study.generation.shards import JudgedPictures, identity
from tangency.study.plan import Trial, cell_of, is_reference, judge_model, labels_of
from tangency.study.spec import StudySpec
from tangency.types import Dataset

_SETS = {KID: Quality("", "lower", "kernel distance to training images, unbiased; 0 for equal sets")}
_KID = "KID is a number of a whole set"
_DRAWN = "p of a rank correlation permutes recipes. F² and alignment are less their shuffled control."


def method(networks: int) -> str:
    """How intervals are made, of studies with this many networks a recipe."""
    if networks == 1:
        return (
            "Intervals: 95 %, over images (pictures, or the images that alignment is measured on): there is one "
            "network a recipe, so they are about this network, and nothing is said of other seeds. "
            f"{_KID}: its standard error has both orders of its variance. Rank correlations and peaks draw images "
            f"anew, correlations recipes, too: they are about these networks alone. {_DRAWN}"
        )
    return (
        f"Intervals: 95 %. Those of a recipe hold for further seeds: {networks} networks crossed with the images "
        "(pictures, or the images that alignment is measured on), which all of them share. "
        f"{_KID}: Student's t over {networks} networks, and the standard error by images on top, as though all of it "
        "were shared. Those of references are over images. Rank correlations and peaks draw networks and images anew, "
        f"correlations recipes, too. {_DRAWN}"
    )


@dataclass(frozen=True)
class Joined:
    """The measurements of a study that generation is compared with.

    Args:
        columns: rows of each trial that was measured.
        collapsed: trials that are not compared.
        regimes: of each cell that has one.
        alignment: key of the headline's alignment; "" where it was not measured.
    """

    columns: Mapping[str, Columns]
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
    gradients = _gradients(spec, planned, joined)
    return GenerationEntry(
        judge=JudgeEntry(
            reference=saved or None,
            architecture=None if saved else model.architecture,
            options=None if saved else model.options,
            seed=None if saved else spec.judge.seed,
            accuracy=judge.accuracy,
            warning=judge.warning,
        ),
        method=method(len(spec.seeds)),
        about=ABOUT | _SETS,
        entries=[_entry(spec, data, planned, one, joined, gradients) for one in generated],
    )


def seed_of(*whose: str) -> int:
    """A seed from identities, so that no number depends on the other entries of the spec, or on their order."""
    return int(identity("resamples", whose), 16)


def qualities(task: str, keys: Mapping[str, Any]) -> dict[str, str]:
    """The measures of quality of a task that were taken, each with which way is better."""
    return {name: "lower" if name in ("lpips", KID) else "higher" for name in TASKS[task].qualities if name in keys}


def _entry(
    spec: StudySpec,
    data: Dataset,
    planned: Sequence[Trial],
    one: GeneratedEntry,
    joined: Joined,
    gradients: Mapping[str, RecipeNumbers],
) -> TaskEntry:
    """One entry of `generate:`."""
    entry, classes = one.entry, len(data.test.classes)
    boot = PairedBootstrap(len(entry.ids), spec.replicates, seed_of(entry.own))
    trials = [trial for trial in planned if trial.id in one.trials]
    draws = {t.id: trial_draws(one.trials[t.id], boot, (entry.own, t.train_hash)) for t in trials}
    cells = _cells(trials, one, boot, joined, gradients, classes)
    trained = [cell for cell in cells if not is_reference(cell.objective)]
    better = qualities(entry.config.task, next(iter(draws.values()), {}))
    others = {FRACTION: "F²"} | ({joined.alignment: "alignment"} if joined.alignment else {})
    return TaskEntry(
        name=entry.name,
        task=entry.config.task,
        count=len(entry.ids),
        budget=entry.config.budget,
        settings=task_settings(entry.config),
        qualities=better,
        references=_references(one, boot, classes),
        trials=[_trial(trial, one, draws[trial.id], classes) for trial in trials],
        networks=len(spec.seeds),
        unit="networks" if len(spec.seeds) > 1 else "images",
        cells=[_cell(cell, trials) for cell in cells],
        alignment=joined.alignment,
        correlations=rank_correlations(trained, list(better), others, STANDARD),
        peaks=peaks(trained, better, others, STANDARD, len(spec.seeds)),
        unavailable={name: why for judged in one.trials.values() for name, why in judged.unavailable.items()}
        | _absent(one),
    )


def _trial(trial: Trial, one: GeneratedEntry, draws: Mapping[str, Array], classes: int) -> GeneratedTrial:
    numbers = _numbers(one.trials[trial.id], draws, classes)
    return GeneratedTrial(id=trial.id, objective=trial.name, strength=trial.strength, seed=trial.seed, **numbers)


def _references(one: GeneratedEntry, boot: PairedBootstrap, classes: int) -> dict[str, SourceEntry]:
    made, entries = one.references, {}
    for source, how in made.how.items():
        draws = trial_draws(made, boot, (one.entry.own,), source)
        entries[source] = SourceEntry(how=how, **_numbers(made, draws, classes, source))
    return entries


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


def _groups(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Cell to its trials."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(cell_of(trial), []).append(trial)
    return groups


def _gradients(spec: StudySpec, planned: Sequence[Trial], joined: Joined) -> dict[str, RecipeNumbers]:
    """F² and alignment less their shuffled controls, of cells whose every seed was measured and did not collapse."""
    images = len(next(iter(next(iter(joined.columns.values())).values())))
    boot = PairedBootstrap(images, spec.replicates)
    usable = joined.columns.keys() - joined.collapsed
    numbers = {}
    for name, group in _groups(planned).items():
        # the Bayes rule is one, for all seeds
        whole = len(group) == len(spec.seeds) or (len(group) == 1 and is_reference(group[0].name))
        if not whole or not {trial.id for trial in group} <= usable:
            continue
        own = [joined.columns[trial.id] for trial in group]
        keys = [key for key in (FRACTION, joined.alignment) if all(f"{key}.shuffled" in each for each in own)]
        tables = {key: np.stack([each[key] - each[f"{key}.shuffled"] for each in own]) for key in keys}
        numbers[name] = means_of_networks(tables, boot, {})
    return numbers


def _cells(
    trials: Sequence[Trial],
    one: GeneratedEntry,
    boot: PairedBootstrap,
    joined: Joined,
    gradients: Mapping[str, RecipeNumbers],
    classes: int,
) -> list[SweepCell]:
    """The cells of `gradients`, with the qualities that all of their networks have."""
    cells, curves = [], labels_of(trials)
    for name, group in _groups(trials).items():
        if name not in gradients:
            continue
        judged = [one.trials[trial.id] for trial in group]
        columns = [_columns(each, OWN) for each in judged]
        names = [key for key in columns[0] if key in ABOUT and all(key in each for each in columns)]
        tables = {key: np.stack([each[key] for each in columns]) for key in names}
        numbers = means_of_networks(tables, boot, {key: chance(key, classes) for key in names})
        sets = [each.sets[OWN] for each in judged if OWN in each.sets and KID in each.sets[OWN].distances]
        if len(sets) == len(group):
            whose = seed_of(one.entry.own, *(trial.train_hash for trial in group), OWN)
            numbers |= distance_of_networks(sets, boot.resamples.rows, whose)
        first = group[0]
        cells.append(SweepCell(name, curves[name], first.strength, joined.regimes.get(name), numbers | gradients[name]))
    return cells


def _cell(cell: SweepCell, trials: Sequence[Trial]) -> GeneratedCell:
    known = ABOUT | _SETS
    measures = cell.numbers.measures
    return GeneratedCell(
        id=cell.id,
        objective=cell.objective,
        strength=cell.strength,
        regime=cell.regime,
        trials=[trial.id for trial in trials if cell_of(trial) == cell.id],
        measures={name: entry for name, entry in measures.items() if name in known},
        excess={name: entry for name, entry in measures.items() if name not in known},
    )
