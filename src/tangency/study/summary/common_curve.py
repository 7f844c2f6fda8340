"""One curve for all objectives: how much of L the radius, or κ, explains over the cells of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tangency.evaluate.entries import plain_number
from tangency.evaluate.verdicts import Recipe, SweepRows
from tangency.evaluate.verdicts.aligned import ACCURACY, alignment, is_collapsed
from tangency.evaluate.verdicts.recipes import directions, shared_seeds
from tangency.measures.keys import RADIUS
from tangency.statistics.regimes import Thresholds
from tangency.statistics.resamples import Array
from tangency.study.summary.sweep import log_kappa
from tangency.study.summary.sweep_entries import CommonCurveEntry, CommonFitEntry

_DEGREE, _FEWEST = 3, 6  # of the common curve
_FEWEST_NETWORKS = 3  # of an interval


@dataclass(frozen=True)
class _Cells:
    """Numbers of each network, (cells, S): median radius, ln κ, accuracy, and L under one direction."""

    radius: Array
    log_kappa: Array
    accuracy: Array
    level: Array

    def of(self, seeds: Sequence[int]) -> dict[str, Array]:
        """Means over some of the seeds, (cells,); the radius as its logarithm."""
        names = ("radius", "log_kappa", "accuracy", "level")
        means = {name: getattr(self, name)[:, seeds].mean(1) for name in names}
        with np.errstate(divide="ignore", invalid="ignore"):
            return means | {"radius": np.log(means["radius"])}


def common_curves(rows: SweepRows) -> list[CommonCurveEntry]:
    """R² of one curve L(radius) over the cells of all objectives that are not collapsed, under each Bayes direction.

    The same with ln κ in place of the radius, and beyond accuracy. Means are over the seeds that all cells have.
    """
    sound = [recipe for recipe in rows.recipes if not is_collapsed(rows, recipe, Thresholds().level)]
    return [_common_curve(rows, sound, target, key) for target, key in directions(rows.recipes).items()]


def _common_curve(rows: SweepRows, sound: Sequence[Recipe], target: str, key: str) -> CommonCurveEntry:
    recipes = [r for r in sound if alignment(r, key) is not None and r.has(RADIUS) and _median(r).mean() > 0]
    objectives = sorted({recipe.objective for recipe in recipes})
    seeds = shared_seeds(*recipes) if recipes else []
    entry = CommonCurveEntry(direction=target, objectives=objectives, cells=len(recipes), r2=None, r2_out=None)
    if len(recipes) < _FEWEST or len(objectives) < 3 or not seeds:
        return entry
    cells = _cells(rows, recipes, key, seeds)
    radius = _fit(cells, "radius")
    return CommonCurveEntry(
        direction=target,
        objectives=objectives,
        cells=len(recipes),
        r2=radius.r2,
        r2_out=radius.r2_out,
        low=radius.low,
        high=radius.high,
        networks=len(seeds),
        kappa=_fit(cells, "log_kappa"),
        beyond_accuracy=_fit(cells, "radius", ACCURACY),
        kappa_beyond_accuracy=_fit(cells, "log_kappa", ACCURACY),
    )


def _median(recipe: Recipe, seeds: Sequence[int] | None = None) -> Array:
    medians: Array = np.nanmedian(recipe.values(RADIUS, seeds), axis=1)
    return medians


def _cells(rows: SweepRows, recipes: Sequence[Recipe], key: str, seeds: Sequence[int]) -> _Cells:
    kappa = [[log_kappa(recipe.networks[seed], rows.dimension) for seed in seeds] for recipe in recipes]
    levels = [level for recipe in recipes if (level := alignment(recipe, key, list(seeds))) is not None]
    absent = np.full(len(seeds), np.nan)
    accuracy = [np.nanmean(r.values(ACCURACY, seeds), axis=1) if r.has(ACCURACY) else absent for r in recipes]
    return _Cells(
        radius=np.stack([_median(recipe, seeds) for recipe in recipes]),
        log_kappa=np.array(kappa),
        accuracy=np.stack(accuracy),
        level=np.stack([np.nanmean(level, axis=1) for level in levels]),
    )


def _fit(cells: _Cells, of: str, beyond: str = "") -> CommonFitEntry:
    """R² of the cells' means, with a jackknife over networks: log(1 − R²) ± t_{S−1} √((S − 1)/S Σ(v_s − v̄)²).

    v_s is log(1 − R²) of all seeds but s. Source: Tukey (1958); Efron and Stein, Annals of Statistics 9 (1981).
    """
    from scipy.special import stdtrit

    seeds = list(range(cells.level.shape[1]))
    whole, out = _explained(cells.of(seeds), of, beyond)
    low = high = math.nan
    if len(seeds) >= _FEWEST_NETWORKS and whole < 1:
        without = np.array([_explained(cells.of([s for s in seeds if s != left]), of, beyond)[0] for left in seeds])
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(1 - without)
        half = float(stdtrit(len(seeds) - 1, 0.975)) * math.sqrt((len(seeds) - 1) * float(logs.var()))
        low, high = 1 - (1 - whole) * math.exp(half), 1 - (1 - whole) * math.exp(-half)
    return CommonFitEntry(
        r2=plain_number(whole), low=plain_number(low), high=plain_number(high), r2_out=plain_number(out)
    )


def _explained(means: dict[str, Array], of: str, beyond: str) -> tuple[float, float]:
    """R² of a cubic in x, and with each cell left out of the fit: residuals e/(1 − h).

    Beyond a covariate, both curves have a line of it, and R² is the share that x explains of what the line leaves.
    """
    x, y = means[of], means["level"]
    if not np.isfinite(np.stack([x, y, *([means[beyond]] if beyond else [])])).all():
        return math.nan, math.nan
    reduced = np.vander(_standard(means[beyond]), 2) if beyond else np.ones((len(y), 1))
    full = np.hstack([reduced, np.vander(_standard(x), _DEGREE + 1)[:, :-1]])
    if full.shape[1] + 2 > len(y):
        return math.nan, math.nan
    (inside, outside), (left, left_out) = _residuals(full, y), _residuals(reduced, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        # without a covariate, cells are predicted from the others by the curve, in units of Σ(L − L̄)²
        total = left_out if beyond else left
        return float(1 - (inside**2).sum() / (left**2).sum()), float(1 - (outside**2).sum() / (total**2).sum())


def _standard(x: Array) -> Array:
    standard: Array = (x - x.mean()) / max(float(x.std()), 1e-12)
    return standard


def _residuals(design: Array, y: Array) -> tuple[Array, Array]:
    """Of a least-squares fit, and of each point by the fit to the others."""
    hat = design @ np.linalg.pinv(design)
    residual: Array = y - hat @ y
    with np.errstate(divide="ignore", invalid="ignore"):
        return residual, residual / (1 - np.diag(hat))
