"""Everything that is said of one recipe: its label with reason and sensitivity, and what was not measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tangency.evaluate.verdicts.aligned import (
    ACCURACY,
    WORDS,
    aligned,
    difference,
    disattenuated,
    evidence_under,
    is_collapsed,
    mean_of,
)
from tangency.evaluate.verdicts.entries import AlignmentUnder, ManifoldUnder, Radius, RecipeVerdict
from tangency.evaluate.verdicts.manifold import combined, on_manifold
from tangency.evaluate.verdicts.recipes import Recipe, SweepRows
from tangency.measures.config import BAYES
from tangency.measures.keys import RADIUS
from tangency.statistics.crossed import CrossedEstimate
from tangency.statistics.regimes import MARGINS, RegimeEvidence, Thresholds, regime_of

ALONE = "; said of this one network on its images, not of other seeds"
_UNKNOWN_SLACK = "too few images of its search to know how good the best filter is"
ONE_SHARED = "; against the one standard network that shares a seed, so that nothing is said of other seeds"


def recipe_verdict(
    rows: SweepRows,
    recipe: Recipe,
    columns: tuple[Mapping[str, str], Mapping[str, str]],
    thresholds: Thresholds,
) -> RecipeVerdict:
    """The verdict on one recipe.

    Args:
        rows: of the sweep.
        recipe: one of its recipes or references.
        columns: Bayes direction to column of the cosine; tangent estimator to column of F².
        thresholds: of the rule.
    """
    by_direction = {target: aligned(rows, recipe, target, key, thresholds) for target, key in columns[0].items()}
    manifold = {name: on_manifold(rows, recipe, key, thresholds) for name, key in columns[1].items() if recipe.has(key)}
    accuracy = mean_of(recipe.values(ACCURACY), thresholds.level) if recipe.has(ACCURACY) else None
    difference_to = None if recipe is rows.standard else difference(recipe, rows.standard, ACCURACY, thresholds.level)
    evidence = RegimeEvidence(
        _shifted(accuracy, -rows.constant),
        difference_to,
        {WORDS.get(target, target): evidence_under(rows, under) for target, under in by_direction.items()},
        exact=rows.exact and by_direction.get(BAYES) is not None,
        standard=recipe is rows.standard,
        baseless=rows.standard is not None and is_collapsed(rows, rows.standard, thresholds.level),
    )
    label, radius = regime_of(evidence, thresholds), _radius(recipe)
    one_shared = _one_shared(recipe, difference_to, by_direction)
    margins = {margin: dataclasses.replace(thresholds, accuracy_margin=margin) for margin in MARGINS}
    return RecipeVerdict(
        name=recipe.name,
        objective=recipe.objective,
        strength=recipe.strength,
        reference=all(recipe is not each for each in rows.recipes),
        networks=len(recipe.networks),
        unit="networks" if len(recipe.networks) > 1 and not one_shared else "images",
        regime=label.regime,
        reason=label.reason + ALONE * (len(recipe.networks) == 1 and not recipe.fixed) + ONE_SHARED * one_shared,
        sensitivity={f"{margin:g}": regime_of(evidence, each).regime for margin, each in margins.items()},
        accuracy=accuracy,
        accuracy_difference=difference_to,
        aligned={target: under for target, under in by_direction.items() if under is not None},
        disattenuated=disattenuated(recipe, dict(columns[0]), thresholds.level),
        on_manifold=combined([each.status for each in manifold.values()]),
        manifold=manifold,
        radius=radius,
        missing=_missing(rows, by_direction, manifold, radius),
    )


def _one_shared(
    recipe: Recipe, accuracy: CrossedEstimate | None, by_direction: Mapping[str, AlignmentUnder | None]
) -> bool:
    """Whether several networks are compared by one seed only, as where those of the standard recipe diverged."""
    compared = [accuracy, *(each for under in by_direction.values() if under for each in under.compared)]
    return len(recipe.networks) > 1 and any(each.unit == "images" for each in compared if each)


def _missing(
    rows: SweepRows,
    by_direction: Mapping[str, AlignmentUnder | None],
    manifold: Mapping[str, ManifoldUnder],
    radius: Radius | None,
) -> list[str]:
    """What was not measured, in words."""
    missing = [f"L under {WORDS.get(target, target)}" for target, under in by_direction.items() if under is None]
    unknown = [target for target in by_direction if target in rows.filtered and not rows.filter_under(target)]
    missing += [f"L beyond the filter under {WORDS.get(target, target)}: {_UNKNOWN_SLACK}" for target in unknown]
    missing += [] if by_direction else ["L under any Bayes direction"]
    missing += [] if manifold else ["F² of the margin"]
    missing += [] if radius else ["the effective strength"]
    return missing + [f"F²: {each} ({name or 'first estimator'})" for name, m in manifold.items() for each in m.missing]


def _shifted(estimate: CrossedEstimate | None, by: float) -> CrossedEstimate | None:
    if estimate is None:
        return None
    mean, low, high = estimate.mean + by, estimate.low + by, estimate.high + by
    return dataclasses.replace(estimate, mean=mean, low=low, high=high, each=tuple(each + by for each in estimate.each))


def _radius(recipe: Recipe) -> Radius | None:
    """Median over the images, mean over networks; None where it is not measured."""
    if not recipe.has(RADIUS):
        return None
    values = recipe.values(RADIUS)
    if not np.isfinite(values).any(1).all():
        return None
    each = np.nanmedian(values, axis=1)
    return Radius(mean=float(each.mean()), each=tuple(float(value) for value in each))
