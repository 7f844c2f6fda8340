"""Sweeps over strengths: levels, peaks, change points, and the thesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from tangency.evaluate.verdicts import Recipe, SweepRows, SweepVerdicts
from tangency.evaluate.verdicts.aligned import ACCURACY, alignment
from tangency.evaluate.verdicts.entries import ThesisVerdict
from tangency.evaluate.verdicts.recipes import directions, shared_seeds
from tangency.statistics import crossed_mean
from tangency.statistics.crossings import Crossing, drop_crossing, fall_crossing, rise_crossing
from tangency.statistics.peaks import interior_peak, shared_image_covariance
from tangency.statistics.resamples import Array
from tangency.study.summary.gaps import lacking
from tangency.study.summary.sweep import LostCell, curves_of
from tangency.study.summary.sweep_entries import (
    CrossingEntry,
    DirectionCurveEntry,
    PeakEntry,
    SweepCurveEntry,
)

ALIGNMENT_DROP = 0.02  # Δ of t₂, in units of L: about a tenth of the largest rise that robust training gives
_BASELESS = "The standard network is collapsed, so that there is no baseline: no peak or change point is claimed."


def curve_entries(
    rows: SweepRows,
    verdicts: SweepVerdicts,
    by_estimator: Mapping[str, Mapping[str, ThesisVerdict]],
    withheld: Mapping[str, str],
    lost: Sequence[LostCell] = (),
) -> list[SweepCurveEntry]:
    """An entry for each objective of at least one strength.

    Args:
        rows: of the study.
        verdicts: on them.
        by_estimator: estimator to objective to the thesis under it alone.
        withheld: objective to why nothing is claimed of its sweep.
        lost: cells without a network.
    """
    entries = []
    collapsed = rows.standard is not None and verdicts.recipes[rows.standard.name].regime == "collapsed"
    for objective, recipes in curves_of(rows).items():
        seeds = shared_seeds(*recipes)
        if not seeds:
            continue
        thesis = verdicts.thesis.get(objective)
        strengths = np.array([recipe.strength for recipe in recipes])
        accuracy = np.stack([recipe.values(ACCURACY, seeds) for recipe in recipes])
        margin = verdicts.thresholds.accuracy_margin
        entries.append(
            SweepCurveEntry(
                objective=objective,
                cells=[recipe.name for recipe in recipes],
                seeds=seeds,
                strengths=strengths.tolist(),
                radius=[_radius(verdicts, recipe) for recipe in recipes],
                accuracy=[crossed_mean(values) for values in accuracy],
                t2_accuracy=_crossing(accuracy, strengths, partial(drop_crossing, drop=margin)),
                alignment_drop=ALIGNMENT_DROP,
                directions=_directions(rows, recipes, seeds, strengths),
                thesis=thesis,
                thesis_by_estimator={n: each[objective] for n, each in by_estimator.items() if objective in each},
                withheld=withheld.get(objective) or (_BASELESS if collapsed else None),
                lacks=lacking(lost, objective, strengths.tolist()),
            )
        )
    return entries


def _radius(verdicts: SweepVerdicts, recipe: Recipe) -> float | None:
    radius = verdicts.recipes[recipe.name].radius
    return radius.mean if radius else None


def _directions(
    rows: SweepRows, recipes: Sequence[Recipe], seeds: list[int], strengths: Array
) -> dict[str, DirectionCurveEntry]:
    entries = {}
    for target, key in directions(rows.recipes).items():
        levels = [alignment(recipe, key, seeds) for recipe in recipes]
        values = np.stack([level for level in levels if level is not None])
        usable = np.isfinite(values).all((0, 1))
        if len(values) < len(recipes) or usable.sum() < 2:
            continue
        values = values[:, :, usable]
        peak = interior_peak(values.mean(2), strengths, _shared(values)) if len(recipes) > 2 else None
        entries[target] = DirectionCurveEntry(
            levels=[crossed_mean(each) for each in values],
            peak=PeakEntry.of(peak) if peak else None,
            t1=_crossing(values, strengths, rise_crossing),
            t2=_crossing(values, strengths, partial(fall_crossing, drop=ALIGNMENT_DROP)),
        )
    return entries


def _crossing(values: Array, strengths: Array, at: Callable[..., Crossing]) -> CrossingEntry | None:
    """A crossing of the means (m, S) of values (m, S, N); None for a curve that does not begin at strength 0."""
    if strengths[0] != 0 or len(strengths) < 2:
        return None
    return CrossingEntry.of(at(values.mean(2), strengths, images=_shared(values)))


def _shared(values: Array) -> Array | None:
    """Covariance of the image part that networks share; None for one network."""
    return shared_image_covariance(values) if values.shape[1] > 1 else None
