"""Sweeps over strengths: levels, peaks, change points, the thesis, and one curve of the radius for all objectives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from tangency.evaluate.entries import plain_number
from tangency.evaluate.verdicts import Recipe, SweepRows, SweepVerdicts
from tangency.evaluate.verdicts.aligned import ACCURACY, alignment, is_collapsed
from tangency.evaluate.verdicts.entries import ThesisVerdict
from tangency.evaluate.verdicts.recipes import directions, shared_seeds
from tangency.measures.keys import RADIUS
from tangency.statistics import crossed_mean
from tangency.statistics.crossings import Crossing, drop_crossing, fall_crossing, rise_crossing
from tangency.statistics.peaks import interior_peak, shared_image_covariance
from tangency.statistics.regimes import Thresholds
from tangency.statistics.resamples import Array
from tangency.study.summary.gaps import lacking
from tangency.study.summary.sweep import LostCell, curves_of
from tangency.study.summary.sweep_entries import (
    CommonCurveEntry,
    CrossingEntry,
    DirectionCurveEntry,
    PeakEntry,
    SweepCurveEntry,
)

ALIGNMENT_DROP = 0.02  # Δ of t₂, in units of L: about a tenth of the largest rise that robust training gives
_BASELESS = "The standard network is collapsed, so that there is no baseline: no peak or change point is claimed."
_DEGREE, _FEWEST = 3, 6  # of the common curve


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


def common_curves(rows: SweepRows) -> list[CommonCurveEntry]:
    """R² of one curve L(radius) over the cells of all objectives that are not collapsed, under each Bayes direction."""
    sound = [recipe for recipe in rows.recipes if not is_collapsed(rows, recipe, Thresholds().level)]
    entries = []
    for target, key in directions(rows.recipes).items():
        points: list[tuple[float, float]] = []
        objectives = set()
        for recipe in sound:
            level = alignment(recipe, key)
            if level is None or not recipe.has(RADIUS):
                continue
            radius = float(np.nanmedian(recipe.values(RADIUS), axis=1).mean())
            if radius > 0:
                points.append((np.log(radius), float(np.nanmean(level))))
                objectives.add(recipe.objective)
        r2, r2_out = _explained(np.array(points)) if len(points) >= _FEWEST and len(objectives) > 2 else (None, None)
        entries.append(
            CommonCurveEntry(direction=target, objectives=sorted(objectives), cells=len(points), r2=r2, r2_out=r2_out)
        )
    return entries


def _explained(points: Array) -> tuple[float | None, float | None]:
    """R² of a cubic through points (n, 2), and with each point left out of the fit: residuals e/(1 − h)."""
    x, y = points.T
    design = np.vander((x - x.mean()) / max(float(x.std()), 1e-12), _DEGREE + 1)
    hat = design @ np.linalg.pinv(design)
    residual, total = y - hat @ y, ((y - y.mean()) ** 2).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        out = residual / (1 - np.diag(hat))
        return plain_number(1 - (residual**2).sum() / total), plain_number(1 - (out**2).sum() / total)
