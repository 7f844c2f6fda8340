"""The convergence gate: the ends of each sweep and its peak are trained twice as long, and nothing may move."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tangency.measures.keys import ALIGNMENT, Key
from tangency.study.assemble import shard_columns
from tangency.study.layout import Layout
from tangency.study.plan import Trial, cell_of, curve_of, directions
from tangency.study.planning import StudyPlan
from tangency.study.spec import StudySpec
from tangency.study.sweep import STANDARD


def to_lengthen(plan: StudyPlan, layout: Layout) -> list[Trial]:
    """The trials that are trained twice as long: of each curve the standard network, the largest strength, the peak.

    The peak is where the mean of L over seeds and directions is largest; every seed of a strength is trained again.
    """
    outcomes = {trial.id: layout.outcome(trial)["outcome"] for trial in plan.trials}
    levels = {
        trial.id: _alignment(plan, layout, trial)
        for trial in plan.trials
        if trial.objective is not None and outcomes[trial.id] == "ok"
    }
    cells = lengthened_cells(plan.trials, levels)
    return [trial for trial in plan.longer if cell_of(trial).removesuffix("-long") in cells]


def lengthened_cells(trials: Sequence[Trial], levels: Mapping[str, float]) -> list[str]:
    """Names of the cells that the gate looks at.

    Args:
        trials: of the study.
        levels: trial id to L; trials that are left out have no network.
    """
    curves: dict[str, dict[str, list[Trial]]] = {}
    for trial in trials:
        if trial.id in levels and not (trial.name == STANDARD and trial.control):  # which is no end of a sweep
            curves.setdefault(curve_of(trial), {}).setdefault(cell_of(trial), []).append(trial)
    chosen = []
    for curve, cells in curves.items():
        names = sorted(cells, key=lambda name: cells[name][0].strength)
        if curve == STANDARD:
            chosen += names[:1]
            continue
        means = [float(np.mean([levels[trial.id] for trial in cells[name]])) for name in names]
        peak = names[int(np.nanargmax(means))] if np.isfinite(means).any() else names[-1]
        chosen += dict.fromkeys((peak, names[-1]))
    return chosen


def _alignment(plan: StudyPlan, layout: Layout, trial: Trial) -> float:
    """L of one network: the mean over images and directions."""
    own = alignment_keys(plan.spec)
    keys = [str(key.under(control)) for key in own for control in ("", "shuffled")]
    columns = shard_columns(layout, trial, plan.shards, keys)
    excess = [columns[str(key)] - columns[str(key.under("shuffled"))] for key in own]
    return float(np.nanmean([np.nanmean(each) for each in excess]))


def alignment_keys(spec: StudySpec) -> list[Key]:
    """The cosine of the margin's gradient with each Bayes direction, at the largest σ."""
    sigma, cosine = max(spec.measures.sigmas), Key.parse(ALIGNMENT)
    return [dataclasses.replace(cosine, target=target).at(sigma=sigma) for target in directions(spec)]
