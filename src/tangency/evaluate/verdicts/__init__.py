"""Verdicts of a sweep from columns alone: regimes, on-manifold, and the paper's thesis, with networks as the unit."""

from __future__ import annotations

from tangency.evaluate.verdicts.entries import RecipeVerdict, SweepVerdicts, ThesisVerdict
from tangency.evaluate.verdicts.label import recipe_verdict
from tangency.evaluate.verdicts.recipes import STANDARD, Recipe, SweepRows, directions, estimators
from tangency.evaluate.verdicts.thesis import thesis
from tangency.statistics.regimes import ORDER, Thresholds

__all__ = ["Recipe", "RecipeVerdict", "SweepRows", "SweepVerdicts", "ThesisVerdict", "verdicts"]


def verdicts(rows: SweepRows, thresholds: Thresholds | None = None) -> SweepVerdicts:
    """The regime of every recipe, whether it is on-manifold, and the paper's thesis for every objective.

    Args:
        rows: columns of all networks, by recipe and seed.
        thresholds: δ and the others; `Thresholds()` by default.

    Returns:
        Verdicts with their reasons, intervals and thresholds; what was not measured is named, never guessed.

    Raises:
        NumericsError: recipes of one name, two standard ones, or networks measured on different images.

    Source: ours; THEORY 7.2. Deviation: arXiv 2305.19101 draws its regimes by eye.

    Example:
        >>> import numpy as np
        >>> columns = {"accuracy": np.array([1.0, 1, 0, 1, 1, 1, 1, 1])}
        >>> rows = SweepRows([Recipe("plain", "standard", 0.0, {0: columns})], constant=0.1, dimension=64)
        >>> verdicts(rows).recipes["plain"].regime
        'weak'
    """
    thresholds = thresholds or Thresholds()
    columns = directions(rows.recipes), estimators(rows.recipes)
    own = {recipe.name: recipe_verdict(rows, recipe, columns, thresholds) for recipe in rows.recipes}
    objectives = dict.fromkeys(recipe.objective for recipe in rows.recipes if recipe.objective != STANDARD)
    return SweepVerdicts(
        thresholds=thresholds,
        order=ORDER,
        recipes=own,
        references={each.name: recipe_verdict(rows, each, columns, thresholds) for each in rows.references},
        thesis={objective: thesis(rows, own, objective, columns, thresholds) for objective in objectives},
    )
