"""Correlations over the cells of a study, within seeds, beside those with targets that hold no link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tangency.evaluate.entries import plain_number
from tangency.evaluate.verdicts import Recipe, SweepRows
from tangency.evaluate.verdicts.recipes import shared_seeds
from tangency.measures.keys import FRACTION, KAPPA, RADIUS, Key
from tangency.measures.similarity.metrics import metric_of
from tangency.statistics.correlation import ControlCorrelation, SweepPair, within_seeds
from tangency.statistics.resamples import Array
from tangency.study.summary.sweep import log_kappa
from tangency.study.summary.sweep_entries import CorrelationControlEntry, CorrelationEntry

_LOG_KAPPA = str(Key.parse(KAPPA).of("log_kappa"))
_OTHER, _SUBSPACE = "shuffled", "dct"  # controls: of the target, of the tangent space


def correlations(rows: SweepRows) -> list[CorrelationEntry]:
    """ln κ (pooled) with each alignment over the trained recipes, partial on radius and accuracy, within seeds.

    A claim is only the difference to a control: another image's target in place of the own one, or a DCT subspace of
    equal rank in place of the tangent space. p is corrected for all that are returned.
    """
    recipes = [recipe for recipe in rows.recipes if recipe.has(FRACTION, RADIUS)]
    seeds = shared_seeds(*recipes) if len(recipes) > 2 else []
    if not seeds:
        return []
    numbers = [[_numbers(recipe, seed, rows.dimension) for seed in seeds] for recipe in recipes]
    kappa, kappa_dct = _table(numbers, _LOG_KAPPA), _table(numbers, f"{_LOG_KAPPA}.{_SUBSPACE}")
    covariates = {key: _table(numbers, key) for key in (RADIUS, "accuracy")}
    pairs: dict[str, SweepPair] = {}
    for key in _alignments(recipes):
        other = str(Key.parse(key).under(_OTHER))
        y = _table(numbers, key)
        if all(recipe.has(other) for recipe in recipes):
            pairs[f"{key} {_OTHER}"] = SweepPair(kappa, y, covariates, {_OTHER: _table(numbers, other)})
        pairs[f"{key} {_SUBSPACE}"] = SweepPair(y, kappa, covariates, {_SUBSPACE: kappa_dct})
    results, entries = within_seeds(pairs), []
    for key in _alignments(recipes):
        own = {control: results[f"{key} {control}"] for control in (_OTHER, _SUBSPACE) if f"{key} {control}" in results}
        first = next(iter(own.values()))
        entries.append(
            CorrelationEntry(
                x=_LOG_KAPPA,
                y=key,
                rho=plain_number(first.rho),
                plain=plain_number(first.plain),
                seeds=first.seeds,
                cells=len(recipes),
                each=[plain_number(each) for each in first.each],
                controls={name: _control(each.controls[name]) for name, each in own.items()},
            )
        )
    return entries


def _control(own: ControlCorrelation) -> CorrelationControlEntry:
    names = ("rho", "difference", "low", "high", "p", "p_holm")
    numbers = {name: plain_number(getattr(own, name)) for name in names}
    return CorrelationControlEntry(**numbers, withheld=own.withheld or None)


def _alignments(recipes: Sequence[Recipe]) -> list[str]:
    keys = [key for key in recipes[0].measured if metric_of(key.family) and not key.control]
    return [str(key) for key in keys if all(recipe.has(str(key)) for recipe in recipes)]


def _numbers(recipe: Recipe, seed: int, dimension: int) -> Mapping[str, float]:
    """Numbers of one network: means of alignments and accuracy, median radius, ln κ of own and DCT subspaces."""
    columns = recipe.networks[seed]
    made = {key: _mean(values) for key, values in columns.items() if _averaged(key)}
    made[RADIUS] = float(np.nanmedian(columns[RADIUS]))
    made[_LOG_KAPPA] = log_kappa(columns, dimension)
    return made | {f"{_LOG_KAPPA}.{_SUBSPACE}": log_kappa(columns, dimension, _SUBSPACE)}


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _averaged(text: str) -> bool:
    key = Key.parse(text)
    return text == "accuracy" or (metric_of(key.family) is not None and key.control in ("", _OTHER))


def _table(numbers: Sequence[Sequence[Mapping[str, float]]], key: str) -> Array:
    return np.array([[each.get(key, np.nan) for each in row] for row in numbers])
