"""Trials that differ in their seed only, taken together."""

from __future__ import annotations

import numpy as np

from tangency.evaluate.entries import MeasureEntry
from tangency.evaluate.numbers import TrialNumbers
from tangency.evaluate.regimes import STANDARD, criteria, judge_regimes
from tangency.statistics import Estimate, SeedBootstrap
from tangency.study.plan import REFERENCES, Trial, cell_of
from tangency.study.spec import StudySpec
from tangency.study.summary.entries import CellEntry
from tangency.study.summary.trials import Results

_STANDARD_CELL = f"{STANDARD}-0"


def cell_numbers(results: Results) -> list[list[TrialNumbers]]:
    """Numbers of the sound trained trials, those of one cell together."""
    cells: dict[str, list[TrialNumbers]] = {}
    for trial in results.planned:
        if trial.id in results.sound and trial.name not in REFERENCES:
            cells.setdefault(cell_of(trial), []).append(results.numbers[trial.id])
    return list(cells.values())


def cell_entries(results: Results, change: str, spec: StudySpec) -> list[CellEntry]:
    """An entry for each cell of a study with several seeds: seeds are resampled first, then images (paired).

    Args:
        results: of the study.
        change: key of the on-manifold change that regimes are labelled by.
        spec: of the study.
    """
    if len(spec.seeds) < 2:
        return []
    groups: dict[str, list[Trial]] = {}
    for trial in results.planned:
        groups.setdefault(cell_of(trial), []).append(trial)
    seeds = SeedBootstrap(len(spec.seeds), spec.replicates)
    pooled = {}
    for name, group in groups.items():
        usable = [results.numbers[trial.id] for trial in group if trial.id in results.sound]
        if len(usable) == len(spec.seeds):
            pooled[name] = _pooled(usable, seeds)
    base = pooled.get(_STANDARD_CELL)
    compared = (
        {name: criteria(own, base, change) for name, own in pooled.items() if name not in REFERENCES} if base else {}
    )
    verdicts, sensitivity = judge_regimes(compared) if compared else ({}, {})
    return [
        CellEntry(
            id=name,
            objective=groups[name][0].name,
            strength=groups[name][0].strength,
            seeds=list(spec.seeds),
            regime=verdicts[name].regime if name in verdicts else None,
            regime_sensitivity=dict(sensitivity.get(name, {})),
            measures={key: MeasureEntry.of(e, chance=own.chance[key]) for key, e in own.estimates.items()},
        )
        for name, own in pooled.items()
    ]


def _pooled(trials: list[TrialNumbers], seeds: SeedBootstrap) -> TrialNumbers:
    draws = {k: seeds.mean(np.stack([t.draws[k] for t in trials])) for k in trials[0].draws}
    counts = {k: (sum(t.estimates[k].n for t in trials), sum(t.estimates[k].degenerate for t in trials)) for k in draws}
    estimates = {k: Estimate.of(row, *counts[k]) for k, row in draws.items()}
    return TrialNumbers(estimates, draws, trials[0].chance, {})
