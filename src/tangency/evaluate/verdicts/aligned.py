"""L = cosine with a Bayes direction − shuffled, above the standard recipe's and the best fixed linear filter's."""

from __future__ import annotations

import numpy as np

from tangency.evaluate.verdicts.entries import AlignmentUnder
from tangency.evaluate.verdicts.recipes import Recipe, SweepRows, shared_seeds
from tangency.measures.keys import Key
from tangency.statistics.crossed import CrossedEstimate, crossed, crossed_mean
from tangency.statistics.regimes import DirectionEvidence, Thresholds
from tangency.statistics.resamples import Array

ACCURACY = "accuracy"
WORDS = {"bayes_gradient": "closed form", "network_bayes_gradient": "trained score"}


def mean_of(values: Array, level: float) -> CrossedEstimate | None:
    """Mean of values (S, N) over the images that all networks have; None for fewer than two."""
    return crossed_mean(values, level) if np.isfinite(values).all(0).sum() > 1 else None


def difference(a: Recipe, b: Recipe | None, key: str, level: float) -> CrossedEstimate | None:
    """Mean of a − b of a column, paired by seed and image; None where it is not measured or no seed is shared."""
    if b is None or not (a.has(key) and b.has(key)) or not (seeds := shared_seeds(a, b)):
        return None
    return mean_of(a.values(key, seeds) - b.values(key, seeds), level)


def alignment(recipe: Recipe, key: str, seeds: list[int] | None = None) -> Array | None:
    """Cosine − its shuffled control (S, N) of each image; None where it is not measured."""
    shuffled = str(Key.parse(key).under("shuffled"))
    return recipe.values(key, seeds) - recipe.values(shuffled, seeds) if recipe.has(key, shuffled) else None


def alignment_difference(a: Recipe, b: Recipe | None, key: str, level: float) -> CrossedEstimate | None:
    """L − L of another recipe, paired by seed and image; None where it is not measured or no seed is shared."""
    if b is None or not (seeds := shared_seeds(a, b)):
        return None
    own, other = alignment(a, key, seeds), alignment(b, key, seeds)
    return None if own is None or other is None else mean_of(own - other, level)


def is_collapsed(rows: SweepRows, recipe: Recipe, level: float) -> bool:
    """Whether a recipe is not shown to do better than the best constant answer; False without accuracies."""
    accuracy = mean_of(recipe.values(ACCURACY), level) if recipe.has(ACCURACY) else None
    return accuracy is not None and not accuracy.low > rows.constant


def aligned(rows: SweepRows, recipe: Recipe, target: str, key: str, thresholds: Thresholds) -> AlignmentUnder | None:
    """L of a recipe under one direction, with all that it is compared with; None where it is not measured.

    Args:
        rows: of the sweep.
        recipe: one of its recipes or references.
        target: the direction.
        key: its column.
        thresholds: level and margin of the filter.
    """
    level, own = thresholds.level, alignment(recipe, key)
    level_of = None if own is None else mean_of(own, level)
    cosine = mean_of(recipe.values(key), level) if recipe.has(key) else None
    if level_of is None or cosine is None:
        return None
    filtered = rows.filter_under(target)
    weaker = [other for other in rows.weaker(recipe) if not is_collapsed(rows, other, level)]
    differences = {
        other.name: alignment_difference(recipe, other, key, 1 - (1 - level) / len(weaker)) for other in weaker
    }
    return AlignmentUnder(
        column=key,
        cosine=cosine,
        alignment=level_of,
        over_standard=alignment_difference(recipe, rows.standard, key, level),
        over_filter=alignment_difference(recipe, filtered, key, level),
        beyond_filter=_beyond(rows, recipe, target, key, thresholds),
        filtered=filtered.name if filtered else None,
        over_weaker={name: estimate for name, estimate in differences.items() if estimate is not None},
    )


def _beyond(rows: SweepRows, recipe: Recipe, target: str, key: str, thresholds: Thresholds) -> CrossedEstimate | None:
    """L − L_filter − margin·(L_filter − L_standard), or − the slack where that is more"""
    standard, filtered = rows.standard, rows.filter_under(target)
    if standard is None or filtered is None or not (seeds := shared_seeds(recipe, standard, filtered)):
        return None
    values = [v for each in (recipe, standard, filtered) if (v := alignment(each, key, seeds)) is not None]
    if len(values) < 3 or not (usable := np.isfinite(values).all((0, 1))).any():
        return None
    own, base, behind = (value[:, usable] for value in values)
    rise, slack = thresholds.filter_margin * (behind - base), rows.slack.get(target, 0.0)
    bar = rise if rise.mean() > slack else slack
    return mean_of(own - behind - bar, thresholds.level)


def evidence_under(rows: SweepRows, under: AlignmentUnder | None) -> DirectionEvidence:
    """What the regime is decided by; nothing where the direction is not measured."""
    if under is None:
        return DirectionEvidence()
    return DirectionEvidence(under.over_standard, under.beyond_filter, under.over_weaker, _share(rows, under))


def _share(rows: SweepRows, under: AlignmentUnder) -> float:
    """Of the images that have L of the standard networks, the share that has it of the others as well."""
    base = None if rows.standard is None else alignment(rows.standard, under.column)
    if base is None or under.over_standard is None:
        return 1.0
    return under.over_standard.images / int(np.isfinite(base).all(0).sum())


def disattenuated(recipe: Recipe, columns: dict[str, str], level: float) -> CrossedEstimate | None:
    """√(cos(g, b₁)·cos(g, b₂)/cos(b₁, b₂)) of mean cosines; None unless there are two directions and all are positive.

    Source: Spearman's correction for attenuation; holds where the errors of b₁ and b₂ are independent.
    """
    if len(columns) != 2:
        return None
    sigma = Key.parse(next(iter(columns.values()))).value
    agreement = str(Key("direction_agreement").at(sigma=sigma or 0.0))
    keys = (*columns.values(), agreement)
    if not recipe.has(*keys):
        return None
    cosines = np.stack([recipe.values(key) for key in keys])  # (3, S, N)
    cosines = cosines[:, :, np.isfinite(cosines).all((0, 1))]
    if cosines.shape[2] < 2 or not (means := cosines.mean(2)).min() > 0:
        return None
    estimates = np.sqrt(means[0] * means[1] / means[2])
    relative = (cosines - means[:, :, None]) / means[:, :, None]
    return crossed(estimates, estimates[:, None] * (relative[0] + relative[1] - relative[2]) / 2, level)
