"""What a leaderboard orders by: tangent energy over that of each control, the best control and estimator speaking."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tangency.evaluate.entries import EstimateEntry
from tangency.evaluate.numbers import Columns
from tangency.measures.config import BAYES, NETWORK
from tangency.measures.definition import rank_key
from tangency.measures.keys import MARGIN, Key
from tangency.statistics import Estimate, PairedBootstrap
from tangency.statistics.resamples import Array

SHUFFLED, CHANCE = "shuffled", "chance"
CONTROLS = (SHUFFLED, "shuffled_class", "dct", "pca", "phase", CHANCE)
SAME = 0.95  # mean overlap from which on a control's subspace is the image's own, and no control
LEVEL = 0.95
FLOOR = 0.01  # of the chance level k/d: the least F² in a ratio


@dataclass(frozen=True, order=True)
class RankedPart:
    """One of the ratios of which the smallest ranks a model.

    Args:
        fraction: key of F² under an estimator of tangent spaces.
        control: of that F²; "chance" for k/d.
    """

    fraction: str
    control: str

    @property
    def tangents(self) -> str:
        """The estimator; "" for the first one."""
        return Key.parse(self.fraction).tangents

    @property
    def other(self) -> str:
        """The key of the control."""
        return str(Key.parse(self.fraction).under(self.control))


@dataclass(frozen=True)
class WorstEntry:
    """The smallest of several numbers, with the ends of an interval that holds for it.

    Args:
        estimate: the smallest mean and lower end of the m numbers, and the smallest upper end of their intervals of
            level 1 − (1 − .95)/m, since the smallest of m upper ends is too low more often than each.
        part: the one that has the smallest mean.
    """

    estimate: EstimateEntry
    part: RankedPart


@dataclass(frozen=True)
class Ranking:
    """What ranks a model.

    Args:
        parts: estimators and controls that were used.
        worst: log F²/control, the smallest of all.
        tangency: estimator to the smallest over its controls; "" for the first estimator.
    """

    parts: list[RankedPart]
    worst: WorstEntry
    tangency: dict[str, WorstEntry]


def log_over_control(fraction: ArrayLike, control: ArrayLike, floor: float = 0.0) -> Array:
    """G = log max(F², floor) − log max(F²_c, floor).

    Neither F² depends on the size of the logits. A fixed linear filter before a network takes gradient energy from
    directions that no tangent space has, so it raises F², but that in smooth subspaces of equal rank as well: of those
    that were tried none brought G above 0.

    Args:
        fraction: mean F² in the image's own tangent space, in [0, 1].
        control: mean F² in a subspace of equal rank, or of the gradient with its phases drawn anew.
        floor: least F², ≥ 0.

    Example:
        >>> log_over_control([0.1, 0.3], 0.3).round(2)
        array([-1.1,  0. ])
    """
    own, other = (np.maximum(np.asarray(value, np.float64), floor) for value in (fraction, control))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(own) - np.log(other)


def ranked_parts(keys: Iterable[str], scalar: str = MARGIN) -> list[RankedPart]:
    """Every estimator with every control that keys of measures have.

    Args:
        keys: of measures, controls among them.
        scalar: whose gradient.
    """
    held = set(keys)
    parsed = [key for key in map(Key.parse, held) if key.family == "tangent_fraction" and key.quantity == scalar]
    parts = [RankedPart(str(key), control) for key in parsed if not key.control for control in CONTROLS]
    return sorted(
        part
        for part in parts
        if (str(rank_key(Key.parse(part.fraction))) if part.control == CHANCE else part.other) in held
    )


def directions(keys: Iterable[str], scalar: str = MARGIN) -> list[str]:
    """Keys of the cosines with Bayes directions that have a shuffled control, of each direction at its largest σ."""
    held, largest = set(keys), dict[str, Key]()
    for key in map(Key.parse, sorted(held)):
        usual = key.family == "alignment_cosine" and key.quantity == scalar and not key.control and not key.variant
        if usual and key.target in (BAYES, NETWORK + BAYES) and str(key.under(SHUFFLED)) in held:
            known = largest.setdefault(key.target, key)
            largest[key.target] = max(known, key, key=lambda each: each.value or 0.0)
    return [str(key) for key in largest.values()]


def rank_value(means: Mapping[str, float], scalar: str = MARGIN) -> float:
    """The number that ranks a model, from the means of its measures: the smallest log F²/control of its parts.

    Args:
        means: measure to its mean over images, controls among them; chance is left out, as d is not known.
        scalar: whose gradient.

    Returns:
        NaN where there is no F² with controls; a control that no image has is none.
    """
    parts = [part for part in ranked_parts(means, scalar) if part.control != CHANCE]
    values = [float(log_over_control(means[part.fraction], means[part.other])) for part in parts]
    return min((value for value in values if not math.isnan(value)), default=math.nan)


def usable_parts(columns: Columns, scalar: str = MARGIN) -> list[RankedPart]:
    """The parts that a model's rows have, without controls whose subspace is the image's own; none without a control.

    Args:
        columns: measure to (N,) values.
        scalar: whose gradient.
    """
    parts = [
        part
        for part in ranked_parts(columns, scalar)
        if not _overlap(columns, part) >= SAME and np.isfinite(_joint(columns, part, 1)).any()
    ]
    return parts if any(part.control != CHANCE for part in parts) else []


def ranking(columns: Columns, dimension: int, parts: Sequence[RankedPart], replicates: int = 2000) -> Ranking | None:
    """What ranks one model, with 95 % intervals over images; None where it lacks a part.

    No minimum is taken inside an interval, see `WorstEntry`.

    Args:
        columns: measure to (N,) values, of the same images.
        dimension: d of an image at the working size.
        parts: of `usable_parts`, those that all models of a table have.
        replicates: bootstrap resamples of the images.
    """
    if not parts or not set(parts) <= set(usable_parts(columns)):
        return None
    images = len(columns[parts[0].fraction])
    boot, drawn = PairedBootstrap(images, replicates), dict[RankedPart, tuple[Array, int]]()
    for part in parts:
        pair = _joint(columns, part, dimension)
        missing = int(np.isnan(pair[0]).sum())
        floor = FLOOR * float(np.nanmean(_chance(columns, part, dimension)))
        own, control = boot.mean(pair)
        drawn[part] = log_over_control(own, control, floor), missing
    tangency = {
        name: _worst({part: draws for part, draws in drawn.items() if part.tangents == name}, images)
        for name in dict.fromkeys(part.tangents for part in parts)
    }
    return Ranking(list(parts), _worst(drawn, images), tangency)


def _overlap(columns: Columns, part: RankedPart) -> float:
    """Mean overlap of the control's subspace with the image's own; NaN where it was not measured."""
    values = columns.get(str(Key("tangent_overlap").at(tangents=part.tangents).under(part.control)))
    return math.nan if values is None or not np.isfinite(values).any() else float(np.nanmean(values))


def _chance(columns: Columns, part: RankedPart, dimension: int) -> Array:
    """k/d of each image, (N,)."""
    rank = np.asarray(columns[str(rank_key(Key.parse(part.fraction)))], np.float64)
    return rank / dimension


def _joint(columns: Columns, part: RankedPart, dimension: int) -> Array:
    """F² and its control (2, N), NaN for images that lack one of them."""
    control = _chance(columns, part, dimension) if part.control == CHANCE else columns[part.other]
    pair = np.stack([columns[part.fraction], control])
    return np.where(np.isfinite(pair).all(0), pair, np.nan)


def _worst(drawn: Mapping[RankedPart, tuple[Array, int]], images: int) -> WorstEntry:
    """The smallest of some estimates, from draws (1 + B,) of each and the number of images that have no value."""

    def estimates(level: float) -> dict[RankedPart, Estimate]:
        return {p: Estimate.of(draws, images - lost, lost, level) for p, (draws, lost) in drawn.items()}

    usual, wide = estimates(LEVEL), estimates(1 - (1 - LEVEL) / len(drawn))
    part = min(usual, key=lambda each: usual[each].mean)
    low, high = min(e.low for e in usual.values()), min(e.high for e in wide.values())
    return WorstEntry(EstimateEntry.of(dataclasses.replace(usual[part], low=low, high=high)), part)
