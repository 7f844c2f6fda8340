"""log F²/control of each equal-rank control on its own; the worst bound speaks, with no maximum in any interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tangency.evaluate.verdicts.entries import ManifoldUnder, OnManifold, WorstControl
from tangency.evaluate.verdicts.recipes import Recipe, SweepRows, shared_seeds
from tangency.measures.definition import rank_key
from tangency.measures.keys import TANGENT_CONTROLS, Key
from tangency.statistics.crossed import CrossedEstimate, crossed
from tangency.statistics.regimes import Thresholds, spoken
from tangency.statistics.resamples import Array

CHANCE = "chance"  # k/d, the mean for a random direction or a random subspace
LOCAL = ("shuffled", "shuffled_class")  # tangent spaces of other images
CONTROLS = (CHANCE, *TANGENT_CONTROLS, "phase")


@dataclass(frozen=True)
class Controls:
    """The controls of F² under one estimator: those that count, those that are the same space, and those missing."""

    counted: tuple[str, ...]
    left_out: dict[str, float | None]
    missing: tuple[str, ...]


def controls_of(recipe: Recipe, key: str, thresholds: Thresholds) -> Controls:
    """Sort the controls of a column of F²."""
    column = Key.parse(key)
    left_out: dict[str, float | None] = {}
    counted, missing = [], []
    for name in CONTROLS:
        needed = str(rank_key(column)) if name == CHANCE else str(column.under(name))
        if not recipe.has(needed):
            missing.append(name)
            continue
        values, overlap = recipe.values(needed), _overlap(recipe, column, name)
        if not np.isfinite(values).any() or (overlap is not None and overlap >= thresholds.overlap):
            left_out[name] = overlap
        else:
            counted.append(name)
            if overlap is None and name in TANGENT_CONTROLS:
                missing.append(f"overlap with {name}")
    return Controls(tuple(counted), left_out, tuple(missing))


def _overlap(recipe: Recipe, column: Key, control: str) -> float | None:
    """Mean tr(P_own P_control)/k; None where it is not measured."""
    key = str(Key("tangent_overlap").at(tangents=column.tangents).under(control))
    values = recipe.values(key) if recipe.has(key) else np.full(1, np.nan)
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def on_manifold(rows: SweepRows, recipe: Recipe, key: str, thresholds: Thresholds) -> ManifoldUnder:
    """Whether gradients lie in the tangent spaces of one estimator more than in any control of equal rank.

    Args:
        rows: of the sweep.
        recipe: one of its recipes or references.
        key: column of F².
        thresholds: level, floor of F² and overlap from which on a control is left out.
    """
    controls, level = controls_of(recipe, key, thresholds), thresholds.level
    signed = [(recipe, 1.0)]
    ratios = _ratios(signed, rows.dimension, key, controls.counted, thresholds, level)
    wide = _ratios(signed, rows.dimension, key, controls.counted, thresholds, corrected(level, len(ratios)))
    status, reason = _status(ratios, wide, controls)
    if status.startswith("shown") and (share := _share(recipe, key, rows.dimension)) < thresholds.images:
        status, reason = "open", f"only {share:.0%} of the images have a gradient; {reason}"
    return ManifoldUnder(
        status=status,
        reason=reason,
        worst=worst_of(ratios, wide),
        controls=ratios,
        left_out=controls.left_out,
        missing=[*controls.missing, *(name for name in controls.counted if name not in ratios)],
    )


def _share(recipe: Recipe, key: str, dimension: int) -> float:
    """Of the images that have a tangent space, the share in which every network has F²."""
    rank = recipe.values(str(rank_key(Key.parse(key))))
    usable = ((rank > 0) & (rank < dimension)).all(0)
    known = np.isfinite(recipe.values(key)[:, usable]).all(0)
    return float(np.mean(known)) if usable.any() else 0.0


def _status(
    ratios: Mapping[str, CrossedEstimate], wide: Mapping[str, CrossedEstimate], controls: Controls
) -> tuple[OnManifold, str]:
    """Above every control at the level of each, or not above one at a level that is corrected for their number."""
    names = ", ".join(
        f"{name} ({'no image has another' if overlap is None else f'overlap {overlap:.3f}'})"
        for name, overlap in controls.left_out.items()
    )
    left_out = f"; left out as the same subspace: {names}" if names else ""
    if not ratios:
        return "open", f"no control of F² is measured{left_out}"
    beaten = {name: estimate for name, estimate in wide.items() if estimate.high <= 0}
    if beaten:
        name = min(beaten, key=lambda each: beaten[each].high)
        among = f" (level corrected for {len(wide)} controls)" if len(wide) > 1 else ""
        return "not", f"log F²/control is {spoken(beaten[name])} against {name}{among}{left_out}"
    name = min(ratios, key=lambda each: ratios[each].low)
    words = f"log F²/control is {spoken(ratios[name])} against {name}, the best of {', '.join(ratios)}{left_out}"
    absent = [each for each in controls.missing if each in CONTROLS]
    if absent:
        return "open", f"{words}; not measured: {', '.join(absent)}"
    if not ratios[name].low > 0 or len(ratios) < len(controls.counted):
        return "open", words
    return "shown" if set(LOCAL) & set(ratios) else "shown (global)", words


def combined(statuses: Sequence[OnManifold]) -> OnManifold:
    """Over all estimators: what all say; "open" where they disagree."""
    kinds = set(statuses)
    if kinds and kinds <= {"shown", "shown (global)"}:
        return "shown (global)" if "shown (global)" in kinds else "shown"
    return "not" if kinds == {"not"} else "open"


def corrected(level: float, tests: int) -> float:
    """The level of each of some intervals of which any may speak (Bonferroni)."""
    return 1 - (1 - level) / max(1, tests)


def worst_of(ratios: Mapping[str, CrossedEstimate], wide: Mapping[str, CrossedEstimate]) -> WorstControl | None:
    """The least bounds over the controls, the upper ones from intervals of a corrected level; None for none.

    That all lower bounds are above 0 happens by chance no more often than that one is; that some upper bound is below
    does, the more controls there are.
    """
    if not ratios:
        return None
    each = list(ratios.values())
    return WorstControl(
        control=min(ratios, key=lambda name: ratios[name].low),
        mean=min(e.mean for e in each),
        low=min(e.low for e in each),
        high=min(e.high for e in wide.values()),
    )


def change(rows: SweepRows, recipe: Recipe, key: str, thresholds: Thresholds, level: float) -> WorstControl | None:
    """log F²/control minus that of the standard recipe, paired; None where it is not measured.

    Args:
        rows: of the sweep.
        recipe: one of its recipes.
        key: column of F².
        thresholds: floor and overlap.
        level: of the intervals; that of the upper bound is corrected for the number of controls.
    """
    standard = rows.standard
    if standard is None or not (standard.has(key) and recipe.has(key)):
        return None
    counted = controls_of(recipe, key, thresholds).counted
    names = [name for name in controls_of(standard, key, thresholds).counted if name in counted]
    signed = [(recipe, 1.0), (standard, -1.0)]
    ratios = _ratios(signed, rows.dimension, key, names, thresholds, level)
    return worst_of(ratios, _ratios(signed, rows.dimension, key, names, thresholds, corrected(level, len(ratios))))


def _ratios(
    signed: Sequence[tuple[Recipe, float]],
    dimension: int,
    key: str,
    controls: Sequence[str],
    thresholds: Thresholds,
    level: float,
) -> dict[str, CrossedEstimate]:
    """Control to `_log_ratio`, of those that it is defined for."""
    ratios = {name: _log_ratio(signed, dimension, key, name, thresholds, level) for name in controls}
    return {name: estimate for name, estimate in ratios.items() if estimate is not None}


def _log_ratio(
    signed: Sequence[tuple[Recipe, float]],
    dimension: int,
    key: str,
    control: str,
    thresholds: Thresholds,
    level: float,
) -> CrossedEstimate | None:
    """Σ sign·(log max(mean F², floor) − log max(mean F² of the control, floor)), crossed; None without images."""
    seeds, column = shared_seeds(*(recipe for recipe, _ in signed)), Key.parse(key)
    rank_column = str(rank_key(column))
    if not seeds or not all(recipe.has(rank_column) for recipe, _ in signed):
        return None
    ranks = [recipe.values(rank_column, seeds) for recipe, _ in signed]
    parts = []
    for (recipe, sign), rank in zip(signed, ranks, strict=True):
        other = rank / dimension if control == CHANCE else recipe.values(str(column.under(control)), seeds)
        parts += [(sign, recipe.values(key, seeds)), (-sign, other)]
    usable = np.isfinite([values for _, values in parts]).all((0, 1))
    if usable.sum() < 2:
        return None
    floor = thresholds.floor * float(np.nanmean(ranks[0])) / dimension
    logs = [(sign, *_log_mean(values[:, usable], floor)) for sign, values in parts]
    estimates = np.sum([sign * estimate for sign, estimate, _ in logs], axis=0)
    influence = np.sum([sign * part for sign, _, part in logs], axis=0)
    return crossed(estimates, influence, level)


def _log_mean(values: Array, floor: float) -> tuple[Array, Array]:
    """log max(mean, floor) of each network (S,), and its influence (vᵢ − mean)/max(mean, floor) by image (S, N)."""
    means = values.mean(1)
    floored = np.maximum(means, floor)
    return np.log(floored), (values - means[:, None]) / floored[:, None]
