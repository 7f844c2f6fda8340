"""summary.json: the numbers that a script wants, each with its interval."""

from __future__ import annotations

import dataclasses
import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tangency.measures.registry import control_of, family
from tangency.statistics import Criteria, Estimate, PairedBootstrap, SeedBootstrap, Thresholds, Verdict
from tangency.study.assemble import Columns
from tangency.study.generation.collect import GeneratedEntry
from tangency.study.generation.summary import Joined, summarise_generation
from tangency.study.judge import (
    STANDARD,
    baselines,
    correlations,
    criteria,
    headline,
    judge_regimes,
)
from tangency.study.numbers import TrialNumbers, as_json, fraction_null, trial_numbers
from tangency.study.optimum import about_world, excess_risks, noise_curves
from tangency.study.plan import REFERENCES, UNTRAINED, Trial, cell_of
from tangency.study.significance import add_holm, add_significance
from tangency.study.spec import StudySpec
from tangency.study.tangent_claim import compare_tangents
from tangency.study.working import working_of
from tangency.types import Dataset

SUMMARY_SCHEMA = 1
_PACKAGES = ("tangency", "torch", "torchvision", "accelerate", "numpy", "scipy", "polars", "safetensors", "pydantic")
REGIME_EPSILON = 2.0  # step length at which R_on is judged; the nearest measured one where it is not measured


def summarise(
    spec: StudySpec,
    data: Dataset,
    planned: list[Trial],
    outcomes: dict[str, dict[str, Any]],
    columns: dict[str, Columns],
    score_card: dict[str, Any],
    generated: Sequence[GeneratedEntry] | None = None,
    judge: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything of summary.json but the times, which differ from run to run."""
    images = len(next(iter(columns.values()))["accuracy"])
    boot = PairedBootstrap(images, spec.replicates)
    working = working_of(spec, data)
    dimension, classes = math.prod(working.shape), len(data.test.classes)
    numbers = {name: trial_numbers(found, boot, dimension, classes) for name, found in columns.items()}
    collapsed = _collapsed(data, planned, numbers)
    epsilon = min(spec.measures.epsilons, key=lambda e: abs(e - REGIME_EPSILON))
    verdicts, sensitivity = judge_regimes(_judged(planned, numbers, collapsed, f"change_on.eps={epsilon:g}"))
    of = "network_" if spec.score.kind == "none" else ""  # then the trained score's, where there is one
    main = f"alignment_cosine.logp_y.{of}bayes_gradient.sigma={max(spec.measures.sigmas):g}"
    has_main = all(main in found.draws for found in numbers.values())
    null = fraction_null(next(iter(columns.values()))["tangent_rank"], dimension)
    entries = [
        entry | _regime(verdicts.get(entry["id"]), sensitivity.get(entry["id"], {}))
        for entry in _entries(planned, outcomes, numbers, collapsed, null)
    ]
    for entry in entries:
        add_significance(entry, columns.get(entry["id"], {}))
    add_holm(entry for entry in entries if entry["objective"] not in REFERENCES)
    cells = _cells(planned, numbers, collapsed, epsilon, spec)
    regimes = {cell_of(t): verdicts[t.id].regime for t in planned if t.id in verdicts and len(spec.seeds) == 1}
    regimes |= {cell["id"]: cell["regime"] for cell in cells}
    joined = Joined(numbers, collapsed, regimes, main if has_main else "", judge or {})
    return {
        "schema": SUMMARY_SCHEMA,
        "name": spec.name,
        "spec_hash": spec.digest(),
        "data": _about(data, images),
        "score": score_card,
        "headline": headline(planned, numbers, verdicts, main) if has_main else None,
        "trials": entries,
        "world": about_world(spec),
        "noise_curves": noise_curves(spec, numbers, _standard_of(planned, numbers, collapsed)),
        "cells": cells,
        "regimes": {
            "thresholds": dataclasses.asdict(Thresholds()),
            "epsilon": epsilon,
            "bands": "simultaneous over trials and criteria (bootstrap of max |t|), 95 %",
            "text": "A regime is a statement about a sweep: each trial is judged against the standard network of its "
            "seed.",
        },
        **({"tangents": compare_tangents(spec, planned, numbers, verdicts, columns)} if len(spec.tangents) > 1 else {}),
        **({"generation": summarise_generation(spec, data, planned, generated, joined)} if generated else {}),
        "correlations": correlations(_by_cell(planned, numbers, collapsed)),
        "provenance": _provenance(spec, data, planned),
    }


def _entries(
    planned: list[Trial],
    outcomes: dict[str, dict[str, Any]],
    numbers: dict[str, TrialNumbers],
    collapsed: set[str],
    null: tuple[float, float],
) -> list[dict[str, Any]]:
    """What summary.json says of each trial but its regime."""
    risks = excess_risks(planned, numbers)
    entries = []
    for trial in planned:
        outcome = {**outcomes[trial.id], **({"outcome": "collapsed"} if trial.id in collapsed else {})}
        untrained = numbers.get(f"{UNTRAINED}-s{trial.seed}")
        entry = _entry(trial, outcome, numbers.get(trial.id), untrained, null)
        entries.append(entry | ({"excess_risk": risks[trial.id]} if trial.id in risks else {}))
    return entries


def _collapsed(data: Dataset, planned: list[Trial], numbers: dict[str, TrialNumbers]) -> set[str]:
    """Trained trials whose accuracy is not shown to be above that of the best constant answer."""
    guessing = float(data.test.class_counts.max()) / len(data.test)
    return {
        trial.id
        for trial in planned
        if trial.id in numbers and trial.name not in REFERENCES
        if not numbers[trial.id].estimates["accuracy"].low > guessing
    }


def _by_cell(planned: list[Trial], numbers: dict[str, TrialNumbers], collapsed: set[str]) -> list[list[TrialNumbers]]:
    """Trials that may be compared, those that differ in their seed only together."""
    found: dict[str, list[TrialNumbers]] = {}
    for trial in planned:
        if trial.id in numbers and trial.name not in REFERENCES and trial.id not in collapsed:
            found.setdefault(cell_of(trial), []).append(numbers[trial.id])
    return list(found.values())


def _about(data: Dataset, images: int) -> dict[str, Any]:
    return {
        "name": data.name,
        "digest": data.test.digest,
        "classes": list(data.test.classes),
        "shape": list(data.test.shape),
        "train": len(data.train),
        "measured": images,
        "licence": data.licence,
    }


def _regime(verdict: Verdict | None, sensitivity: dict[str, Any]) -> dict[str, Any]:
    return {
        "regime": verdict.regime if verdict else None,
        "regime_sensitivity": sensitivity,
        "regime_bands": bands(verdict),
    }


def _standard_of(planned: list[Trial], numbers: dict[str, TrialNumbers], collapsed: set[str]) -> dict[str, str]:
    """Trial to the standard trial of its seed."""
    standard = baselines(planned, numbers.keys() - collapsed)
    return {
        trial.id: standard[trial.seed].id
        for trial in planned
        if trial.id in numbers and trial.seed in standard and trial.name not in (*REFERENCES, STANDARD)
    }


def _judged(
    planned: list[Trial], numbers: dict[str, TrialNumbers], collapsed: set[str], change: str
) -> dict[str, Criteria]:
    sound = numbers.keys() - collapsed
    standard = baselines(planned, sound)
    return {
        trial.id: criteria(numbers[trial.id], numbers[standard[trial.seed].id], change)
        for trial in planned
        if trial.id in sound and trial.seed in standard and trial.name not in REFERENCES
    }


def bands(verdict: Verdict | None) -> dict[str, list[float | None]] | None:
    """Simultaneous bands of a verdict as they stand in summary.json."""
    if verdict is None:
        return None
    names = ("kappa_ratio", "accuracy_difference", "change_on_ratio")
    return {name: [v if math.isfinite(v) else None for v in getattr(verdict, name)] for name in names}


def _entry(
    trial: Trial,
    outcome: dict[str, Any],
    numbers: TrialNumbers | None,
    untrained: TrialNumbers | None,
    null: tuple[float, float],
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": trial.id,
        "objective": trial.name,
        "strength": trial.strength,
        "seed": trial.seed,
        "outcome": outcome["outcome"],
        "train_hash": trial.train_hash,
        "measure_hash": trial.measure_hash,
        "seconds": outcome["seconds"],
        "epochs": outcome["epochs"],
        "measures": {},
        "excess": {},
    }
    if numbers is None:
        return entry
    for key, estimate in numbers.estimates.items():
        more = {"null": list(null)} if family(key) == "tangent_fraction" else {}
        entry["measures"][key] = as_json(estimate, chance=numbers.chance[key], **more)
        if untrained and control_of(key) is None and family(key).startswith(("alignment", "tangent_fraction")):
            entry["measures"][f"{key}.untrained"] = as_json(untrained.estimates[key], chance=numbers.chance[key])
    for key, excess in numbers.excess.items():
        controls = {name: as_json(found) for name, found in excess.controls.items()}
        entry["excess"][key] = as_json(excess.estimate, best_control=excess.best, controls=controls)
    return entry


def _cells(
    planned: list[Trial], numbers: dict[str, TrialNumbers], collapsed: set[str], epsilon: float, spec: StudySpec
) -> list[dict[str, Any]]:
    """Trials that differ in their seed only, together: seeds are resampled first, then images (paired)."""
    if len(spec.seeds) < 2:
        return []
    groups: dict[str, list[Trial]] = {}
    for trial in planned:
        groups.setdefault(cell_of(trial), []).append(trial)
    seeds = SeedBootstrap(len(spec.seeds), spec.replicates)
    cells, pooled = [], {}
    for name, group in groups.items():
        usable = [t for t in group if t.id in numbers and t.id not in collapsed]
        if len(usable) == len(spec.seeds):
            pooled[name] = _pooled([numbers[t.id] for t in usable], seeds)
    change = f"change_on.eps={epsilon:g}"
    if STANDARD + "-0" in pooled:
        base = pooled[STANDARD + "-0"]
        judged = {n: criteria(found, base, change) for n, found in pooled.items() if n not in REFERENCES}
        verdicts, sensitivity = judge_regimes(judged)
    else:
        verdicts, sensitivity = {}, {}
    for name, found in pooled.items():
        first = groups[name][0]
        cells.append(
            {
                "id": name,
                "objective": first.name,
                "strength": first.strength,
                "seeds": list(spec.seeds),
                "regime": verdicts[name].regime if name in verdicts else None,
                "regime_sensitivity": sensitivity.get(name, {}),
                "measures": {key: as_json(e, chance=found.chance[key]) for key, e in found.estimates.items()},
            }
        )
    return cells


def _pooled(trials: list[TrialNumbers], seeds: SeedBootstrap) -> TrialNumbers:
    draws = {k: seeds.mean(np.stack([t.draws[k] for t in trials])) for k in trials[0].draws}
    counts = {k: (sum(t.estimates[k].n for t in trials), sum(t.estimates[k].degenerate for t in trials)) for k in draws}
    estimates = {k: Estimate.of(row, *counts[k]) for k, row in draws.items()}
    return TrialNumbers(estimates, draws, trials[0].chance, {})


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
