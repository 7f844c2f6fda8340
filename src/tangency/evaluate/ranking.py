"""What a leaderboard orders by: alignment with Bayes directions, less the share of tangency that a control explains."""

from __future__ import annotations

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

SHUFFLED = "shuffled"
SAME = 0.95  # mean overlap from which on a control's subspace is the image's own, and no control
FLOOR = 0.01  # of the chance level k/d: the least F² in a ratio
CONTROLS = ("shuffled", "shuffled_class", "dct", "pca", "phase")


@dataclass(frozen=True, order=True)
class RankedPart:
    """One of the numbers of which the smallest ranks a model: a direction, an estimator and a control.

    Args:
        alignment: key of the cosine with a Bayes direction, at the largest σ.
        fraction: key of F² under an estimator of tangent spaces.
        control: of that F².
    """

    alignment: str
    fraction: str
    control: str

    @property
    def direction(self) -> str:
        """The direction's target."""
        return Key.parse(self.alignment).target

    @property
    def tangents(self) -> str:
        """The estimator; "" for the first one."""
        return Key.parse(self.fraction).tangents


@dataclass(frozen=True)
class WorstEntry:
    """The smallest of several numbers, with the ends of an interval that holds for it.

    Args:
        estimate: the smallest mean, the smallest lower end, the smallest upper end.
        part: the one that has the smallest mean.
    """

    estimate: EstimateEntry
    part: RankedPart


@dataclass(frozen=True)
class Ranking:
    """What ranks a model, and what it is made of.

    Args:
        parts: directions, estimators and controls that were used.
        discounted: L · min(1, F²/control), the worst of them.
        tangency: estimator to log F²/control, the worst over its controls; "" for the first estimator.
    """

    parts: list[RankedPart]
    discounted: WorstEntry
    tangency: dict[str, WorstEntry]


def discounted_alignment(aligned: ArrayLike, fraction: ArrayLike, control: ArrayLike, floor: float = 0.0) -> Array:
    """D = L · min(1, max(F², floor)/max(F²_c, floor)); L itself where it is negative.

    A fixed linear filter before a network raises L, since it takes from the gradient what no direction has; it raises
    the tangent fraction of a smooth subspace of equal rank at least as much as that of the image's own, so the second
    factor falls or stays. Neither factor depends on the size of the logits.

    Args:
        aligned: L, the mean cosine of ∇ margin with a Bayes direction minus its shuffled control, in [−2, 2].
        fraction: mean F² in the image's own tangent space, in [0, 1].
        control: mean F² in a subspace of equal rank, or of the gradient with its phases drawn anew.
        floor: least F², ≥ 0.

    Returns:
        At most L; 0 for a gradient that knows nothing of its image.

    Example:
        >>> discounted_alignment(0.2, [0.1, 0.3], 0.2)
        array([0.1, 0.2])
    """
    share = np.minimum(1.0, np.maximum(fraction, floor) / np.maximum(control, floor))
    whole = np.asarray(aligned, np.float64)
    return np.where(whole > 0, whole * share, whole)


def ranked_parts(keys: Iterable[str], scalar: str = MARGIN) -> list[RankedPart]:
    """Every direction with every estimator and control that keys of measures have; none where one kind is missing.

    Args:
        keys: of measures, controls among them.
        scalar: whose gradient.
    """
    held = set(keys)
    parsed = [key for key in map(Key.parse, held) if key.quantity == scalar and not key.control]
    aligned: dict[str, Key] = {}
    for key in parsed:
        usual = key.family == "alignment_cosine" and key.target in (BAYES, NETWORK + BAYES) and not key.variant
        if usual and key.value is not None and str(key.under(SHUFFLED)) in held:
            aligned[key.target] = max(aligned.get(key.target, key), key, key=lambda each: each.value or 0.0)
    fractions = [key for key in parsed if key.family == "tangent_fraction"]
    return sorted(
        RankedPart(str(direction), str(fraction), control)
        for direction in aligned.values()
        for fraction in fractions
        for control in CONTROLS
        if str(fraction.under(control)) in held
    )


def usable_parts(columns: Columns, scalar: str = MARGIN) -> list[RankedPart]:
    """The parts that a model's rows have, without controls whose subspace is the image's own.

    Args:
        columns: measure to (N,) values.
        scalar: whose gradient.
    """
    return [
        part
        for part in ranked_parts(columns, scalar)
        if not _overlap(columns, part) >= SAME and all(np.isfinite(pair).all(0).any() for pair in _pairs(columns, part))
    ]


def rank_value(means: Mapping[str, float], scalar: str = MARGIN) -> float:
    """The number that ranks a model, from the means of its measures: the smallest `discounted_alignment` of its parts.

    Args:
        means: measure to its mean over images, controls among them.
        scalar: whose gradient.

    Returns:
        NaN where there is no direction, or no control.
    """
    values = [
        float(
            discounted_alignment(
                means[part.alignment] - means[_under(part.alignment, SHUFFLED)],
                means[part.fraction],
                means[_under(part.fraction, part.control)],
            )
        )
        for part in ranked_parts(means, scalar)
    ]
    return min(values, default=math.nan)


def ranking(columns: Columns, dimension: int, parts: Sequence[RankedPart], replicates: int = 2000) -> Ranking | None:
    """What ranks one model, with 95 % intervals over images; None where a part has no value.

    The interval of the smallest number reaches from the smallest lower to the smallest upper end: no minimum is taken
    inside an interval.

    Args:
        columns: measure to (N,) values, of the same images.
        dimension: d of an image at the working size.
        parts: of `usable_parts`, those that all models of a table have.
        replicates: bootstrap resamples of the images.
    """
    if not parts or not set(parts) <= set(usable_parts(columns)):
        return None
    images = len(next(iter(columns.values())))
    boot = PairedBootstrap(images, replicates)
    aligned = {part.alignment: _aligned(columns, part) for part in parts}
    draws = dict(zip(aligned, boot.mean(np.stack(list(aligned.values()))), strict=True))
    missing = {key: int((~np.isfinite(values)).sum()) for key, values in aligned.items()}

    def entry(drawn: Array, part: RankedPart) -> EstimateEntry:
        lost = missing[part.alignment]
        return EstimateEntry.of(Estimate.of(drawn, images - lost, lost))

    names = dict.fromkeys(part.tangents for part in parts)
    logs: dict[RankedPart, EstimateEntry] = {}
    values: dict[RankedPart, EstimateEntry] = {}
    for part in parts:
        own, control = boot.mean(_joint(columns, part))
        floor = FLOOR * float(np.nanmean(columns[str(rank_key(Key.parse(part.fraction)))])) / dimension
        values[part] = entry(discounted_alignment(draws[part.alignment], own, control, floor), part)
        logs[part] = entry(np.log(np.maximum(own, floor)) - np.log(np.maximum(control, floor)), part)
    return Ranking(
        list(parts),
        _worst(values),
        {name: _worst({p: e for p, e in logs.items() if p.tangents == name}) for name in names},
    )


def _under(key: str, control: str) -> str:
    return str(Key.parse(key).under(control))


def _overlap(columns: Columns, part: RankedPart) -> float:
    """Mean overlap of the control's subspace with the image's own; NaN where it was not measured."""
    values = columns.get(str(Key("tangent_overlap").at(tangents=part.tangents).under(part.control)))
    return math.nan if values is None or not np.isfinite(values).any() else float(np.nanmean(values))


def _pairs(columns: Columns, part: RankedPart) -> tuple[Array, Array]:
    """(2, N) each: the cosine and F², with their controls."""
    pairs = ((part.alignment, SHUFFLED), (part.fraction, part.control))
    first, second = (np.stack([columns[key], columns[_under(key, control)]]) for key, control in pairs)
    return first, second


def _aligned(columns: Columns, part: RankedPart) -> Array:
    """Cosine minus shuffled of each image, (N,)."""
    own, shuffled = _pairs(columns, part)[0]
    difference: Array = own - shuffled
    return difference


def _joint(columns: Columns, part: RankedPart) -> Array:
    """F² and its control (2, N), NaN for images that lack one of them."""
    pair = _pairs(columns, part)[1]
    return np.where(np.isfinite(pair).all(0), pair, np.nan)


def _worst(entries: Mapping[RankedPart, EstimateEntry]) -> WorstEntry:
    """The smallest of some estimates."""
    part = min(entries, key=lambda each: entries[each].mean or 0.0)

    def least(ends: Iterable[float | None]) -> float | None:
        known = list(ends)
        return None if None in known else min(end for end in known if end is not None)

    held = entries.values()
    low, high = least(e.low for e in held), least(e.high for e in held)
    own = entries[part]
    return WorstEntry(EstimateEntry(mean=own.mean, low=low, high=high, n=own.n, degenerate=own.degenerate), part)
