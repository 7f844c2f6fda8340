"""Strengths at which arms do equally much to the network, and whether two arms do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tangency.cause.spec import MatchSpec
from tangency.evaluate.verdicts import Recipe
from tangency.evaluate.verdicts.recipes import shared_seeds
from tangency.measures.keys import RADIUS
from tangency.statistics import CrossedEstimate, crossed_difference
from tangency.statistics.resamples import Array

ACCURACY = "accuracy"
UNCHECKED = 0.5  # share of a tolerance by which a calibrated network may miss without another training
_BEYOND = math.log(10.0)  # how far outside of the calibrated strengths one may lie, as a logarithm


@dataclass(frozen=True, kw_only=True)
class CalibrationPoint:
    """What an arm does at one strength: its radius and accuracy, means over the calibration seeds.

    Args:
        radius: median of margin/‖∇margin‖ over images, in [0, 1] pixel units; geometric mean over networks.
        stage: of the training, "calibration" or "refined-1".
    """

    arm: str
    strength: float
    radius: float | None
    accuracy: float
    stage: str


def radii(recipe: Recipe, seeds: Sequence[int]) -> Array:
    """Median radius of each network, (S,)."""
    medians: Array = np.nanmedian(recipe.values(RADIUS, seeds), axis=1)
    return medians


def calibration_point(arm: str, strength: float, recipe: Recipe, stage: str) -> CalibrationPoint:
    """The point of the networks of an arm at one strength; no radius where a median is not positive."""
    own = radii(recipe, list(recipe.networks))
    radius = float(np.exp(np.log(own).mean())) if (own > 0).all() else None
    accuracy = float(np.nanmean(recipe.values(ACCURACY)))
    return CalibrationPoint(arm=arm, strength=strength, radius=radius, accuracy=accuracy, stage=stage)


def matching_strength(strengths: Sequence[float], radius: Sequence[float], target: float) -> float:
    """λ* at which log r(log λ), linear between strengths, is the target; the smallest where there are several.

    Where the target lies beyond all radii, the line of the two nearest strengths is followed, at most tenfold.

    Args:
        strengths: (m ≥ 1,) of an arm, > 0, each once.
        radius: (m,) > 0, of its networks.
        target: > 0.

    Example:
        >>> round(matching_strength([0.1, 1.0, 10.0], [1.0, 2.0, 8.0], 4.0), 3)
        3.162
        >>> round(matching_strength([0.1, 1.0], [1.0, 2.0], 4.0), 3)
        10.0
    """
    order = np.argsort(strengths)
    x, y = np.log(np.asarray(strengths, float)[order]), np.log(np.asarray(radius, float)[order])
    goal = math.log(target)
    for i in range(len(x) - 1):
        if min(y[i], y[i + 1]) <= goal <= max(y[i], y[i + 1]):
            share = (goal - y[i]) / (y[i + 1] - y[i]) if y[i + 1] != y[i] else 0.0
            return _strength(x[i] + share * (x[i + 1] - x[i]))
    nearest = int(np.abs(y - goal).argmin())
    if len(x) == 1:
        return _strength(x[0])
    beside = nearest + 1 if nearest == 0 else nearest - 1
    slope = (y[nearest] - y[beside]) / (x[nearest] - x[beside])
    step = (goal - y[nearest]) / slope if slope > 0 else 0.0  # a penalty that does not act has no such line
    return _strength(float(np.clip(x[nearest] + step, x[0] - _BEYOND, x[-1] + _BEYOND)))


def _strength(logarithm: float) -> float:
    """To the six digits that the id of a trial has, so that a strength of the calibration is that very one."""
    return float(f"{math.exp(logarithm):.6g}")


def strongest_strength(strengths: Sequence[float], accuracy: Sequence[float], least: float) -> float:
    """The largest λ whose accuracy, linear in log λ between strengths, is at least `least`; else the smallest λ.

    Args:
        strengths: (m ≥ 1,) of an arm, > 0, each once.
        accuracy: (m,) of its networks.
        least: that is wanted.

    Example:
        >>> round(strongest_strength([0.1, 1.0, 10.0], [0.9, 0.9, 0.7], 0.8), 3)
        3.162
    """
    order = np.argsort(strengths)
    x, y = np.log(np.asarray(strengths, float)[order]), np.asarray(accuracy, float)[order]
    sound = np.flatnonzero(y >= least)
    if not len(sound) or sound[-1] == len(x) - 1:
        return _strength(x[sound[-1]] if len(sound) else x[0])
    last = int(sound[-1])
    share = (y[last] - least) / (y[last] - y[last + 1])
    return _strength(x[last] + share * (x[last + 1] - x[last]))


def chosen_strengths(points: Sequence[CalibrationPoint], base: str, how: MatchSpec) -> dict[str, float]:
    """The strength of each arm at which it matches the base arm; of the base arm, its own.

    By radius, an arm of which no network has a positive median radius keeps its smallest strength: it will not match.
    """
    target = next(point for point in points if point.arm == base)
    chosen = {base: target.strength}
    for arm in dict.fromkeys(point.arm for point in points if point.arm != base):
        own = [point for point in points if point.arm == arm]
        chosen[arm] = min(point.strength for point in own)
        if how.by == "accuracy" and how.accuracy is not None:
            least = target.accuracy - how.accuracy * UNCHECKED
            chosen[arm] = strongest_strength([p.strength for p in own], [p.accuracy for p in own], least)
        elif target.radius and (known := {point.strength: point.radius for point in own if point.radius}):
            chosen[arm] = matching_strength(list(known), list(known.values()), target.radius)
    return chosen


def misses(points: Sequence[CalibrationPoint], base: str, how: MatchSpec) -> list[str]:
    """Arms whose chosen strength is not known to match: none of their radii is within half the tolerance.

    By accuracy, those that were not trained at it.
    """
    target = next(point for point in points if point.arm == base).radius
    chosen, tried = chosen_strengths(points, base, how), {(point.arm, point.strength) for point in points}
    unknown = [arm for arm, strength in chosen.items() if (arm, strength) not in tried]
    if how.by == "accuracy" or target is None or how.radius is None:
        return unknown
    gaps = {
        arm: min((abs(math.log(p.radius / target)) for p in points if p.arm == arm and p.radius), default=math.inf)
        for arm in unknown
    }
    return [arm for arm, gap in gaps.items() if gap > UNCHECKED * how.radius]


@dataclass(frozen=True, kw_only=True)
class MatchEntry:
    """Whether an arm does as much to the network as the base arm.

    Args:
        radius_ratio: of the median radii, arm over base, with its interval over networks; geometric mean.
        accuracy_difference: arm minus base.
        matched: whether both are within the tolerances, by their means.
        reason: what is not, in words; "" where it is matched.
    """

    radius_ratio: CrossedEstimate
    accuracy_difference: CrossedEstimate
    matched: bool
    reason: str


def match(arm: Recipe, base: Recipe, tolerance: MatchSpec) -> MatchEntry:
    """Compare radius and accuracy of an arm with those of the base arm, paired by seed."""
    seeds = shared_seeds(arm, base)
    ratio = _radius_ratio(radii(arm, seeds), radii(base, seeds))
    accuracy = crossed_difference(arm.values(ACCURACY, seeds), base.values(ACCURACY, seeds))
    reasons = []
    if tolerance.radius is not None and math.isnan(ratio.mean):
        reasons.append("a median radius is not positive")
    elif tolerance.radius is not None and abs(ratio.mean - 1) > tolerance.radius:
        reasons.append(f"radius {100 * (ratio.mean - 1):+.1f} %")
    if tolerance.accuracy is not None and abs(accuracy.mean) > tolerance.accuracy:
        reasons.append(f"accuracy {100 * accuracy.mean:+.1f} points")
    return MatchEntry(radius_ratio=ratio, accuracy_difference=accuracy, matched=not reasons, reason=", ".join(reasons))


def _radius_ratio(arm: Array, base: Array) -> CrossedEstimate:
    """exp of the mean log ratio of radii (S,), with the t interval over networks; NaN where one is not positive."""
    from scipy.special import stdtrit

    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(np.where((arm > 0) & (base > 0), arm / base, np.nan))
    count, mean = len(logs), float(logs.mean())
    half = float(stdtrit(count - 1, 0.975) * logs.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan
    low, middle, high = np.exp([mean - half, mean, mean + half]).tolist()
    return CrossedEstimate(
        middle, low, high, count, "networks" if count > 1 else "images", tuple(np.exp(logs).tolist())
    )
