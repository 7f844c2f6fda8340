"""The columns that verdicts are made from: networks by recipe and seed, all on the same images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from tangency.errors import NumericsError
from tangency.measures.keys import MARGIN, Key
from tangency.statistics.resamples import Array

STANDARD = "standard"


@dataclass(frozen=True)
class Recipe:
    """Networks that differ in their seed only.

    Args:
        name: unique among all of a sweep.
        objective: "standard" for the standard recipe.
        strength: of the objective, 0 for the standard recipe.
        networks: seed to key to values (N,), of the same images in the same order for all networks.
        fixed: whether it has no seed, as the Bayes rule: its one network then stands for every seed.
    """

    name: str
    objective: str
    strength: float
    networks: Mapping[int, Mapping[str, Array]]
    fixed: bool = False

    def has(self, *keys: str) -> bool:
        """Whether every network has these columns."""
        return bool(self.networks) and all(key in own for own in self.networks.values() for key in keys)

    @property
    def measured(self) -> list[Key]:
        """The keys of its columns that every network has."""
        first = next(iter(self.networks.values()), {})
        return [Key.parse(text) for text in first if self.has(text)]

    def values(self, key: str, seeds: Sequence[int] | None = None) -> Array:
        """(S, N) of a column, of all networks or of the seeds that are named."""
        own = list(self.networks.values())
        if seeds is not None:
            own = own * len(seeds) if self.fixed else [self.networks[seed] for seed in seeds]
        return np.stack([columns[key] for columns in own]).astype(np.float64)


@dataclass(frozen=True)
class SweepRows:
    """All that the verdicts of a sweep are made from.

    Args:
        recipes: the trained ones; the one of objective "standard" is what they are judged against.
        constant: accuracy of the best constant answer on the measured images.
        dimension: d.
        exact: whether the closed form's direction, `bayes_gradient`, is the truth: then one direction suffices.
        filtered: Bayes direction (`bayes_gradient`, `network_bayes_gradient`) to the standard network behind the best
            fixed linear input filter for it, by seed.
        slack: Bayes direction to the L by which another filter may exceed the chosen one, 0 where nothing is said;
            infinite where it is unknown: then nothing is compared with the filter under that direction.
        references: the Bayes rule, untrained networks, wrappers: labelled too, never "best".
    """

    recipes: Sequence[Recipe]
    constant: float
    dimension: int
    exact: bool = False
    filtered: Mapping[str, Recipe] = field(default_factory=dict)
    slack: Mapping[str, float] = field(default_factory=dict)
    references: Sequence[Recipe] = ()

    def __post_init__(self) -> None:
        recipes = [*self.recipes, *self.references]
        names = [recipe.name for recipe in recipes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise NumericsError(f"verdicts: got two recipes named '{twice[0]}'; expected names of their own.")
        if empty := [recipe.name for recipe in recipes if not recipe.networks]:
            raise NumericsError(f"verdicts: got no network of '{empty[0]}', expected at least one.")
        if several := [recipe.name for recipe in recipes if recipe.fixed and len(recipe.networks) > 1]:
            raise NumericsError(f"verdicts: got '{several[0]}' as fixed, with several networks; expected one.")
        if sum(recipe.objective == STANDARD for recipe in self.recipes) > 1:
            raise NumericsError("verdicts: got two standard recipes, expected one that all are judged against.")
        lengths = {values.shape for recipe in recipes for own in recipe.networks.values() for values in own.values()}
        if len(lengths) > 1:
            raise NumericsError(f"verdicts: got columns of shapes {sorted(lengths)}, expected the same images for all.")

    def filter_under(self, target: str) -> Recipe | None:
        """The filtered standard network for a direction; None without one, and where its slack is unknown."""
        return self.filtered.get(target) if np.isfinite(self.slack.get(target, 0.0)) else None

    @property
    def standard(self) -> Recipe | None:
        """The standard recipe, if there is one."""
        return next((recipe for recipe in self.recipes if recipe.objective == STANDARD), None)

    def weaker(self, recipe: Recipe) -> list[Recipe]:
        """The trained recipes of its objective at a smaller strength; none for references."""
        if all(recipe is not own for own in self.recipes):
            return []
        return [o for o in self.recipes if o.objective == recipe.objective and o.strength < recipe.strength]


def shared_seeds(*recipes: Recipe) -> list[int]:
    """The seeds that all have; a fixed recipe has all."""
    seeded = [recipe for recipe in recipes if not recipe.fixed] or list(recipes[:1])
    return [seed for seed in seeded[0].networks if all(seed in recipe.networks for recipe in seeded)]


def directions(recipes: Iterable[Recipe]) -> dict[str, str]:
    """Bayes direction to its column at the largest σ, of those that have a shuffled control."""
    keys = {
        str(key): key
        for recipe in recipes
        for key in recipe.measured
        if key.family == "alignment_cosine" and key.quantity == MARGIN and not (key.control or key.variant)
        if key.target.endswith("bayes_gradient") and recipe.has(str(key.under("shuffled")))
    }
    ordered = sorted(keys.values(), key=lambda key: (key.target, key.value or 0.0))
    return {target: str(list(own)[-1]) for target, own in groupby(ordered, key=lambda key: key.target)}


def estimators(recipes: Iterable[Recipe]) -> dict[str, str]:
    """Tangent estimator ("" for the first) to its column of F²."""
    keys = [key for recipe in recipes for key in recipe.measured]
    return {key.tangents: str(key) for key in keys if key == Key("tangent_fraction", MARGIN).at(tangents=key.tangents)}
