"""Recipes of a generation task: trials that differ in their seed only, their numbers with networks as the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tangency.evaluate.entries import plain_number
from tangency.evaluate.generation.numbers import SetNumbers
from tangency.evaluate.generation.qualities import KID
from tangency.statistics import CrossedDraws, CrossedEstimate, PairedBootstrap, crossed_mean, crossed_sets
from tangency.statistics.resamples import Array
from tangency.study.summary.sweep_entries import CellMeasureEntry


@dataclass(frozen=True)
class RecipeNumbers:
    """Numbers of the networks of one recipe.

    Args:
        measures: of each number, the mean over networks with its crossed interval.
        draws: (1 + B,) of each: the mean, then its resamples, the same networks and images for all recipes.
    """

    measures: dict[str, CellMeasureEntry] = field(default_factory=dict)
    draws: dict[str, Array] = field(default_factory=dict)

    def __or__(self, other: RecipeNumbers) -> RecipeNumbers:
        return RecipeNumbers(self.measures | other.measures, self.draws | other.draws)


@dataclass(frozen=True)
class SweepCell:
    """A recipe of a task.

    Args:
        id, objective, strength: of the trials.
        regime: of the cell, None where it has none.
        numbers: of its pictures, and of its gradients.
    """

    id: str
    objective: str
    strength: float
    regime: str | None
    numbers: RecipeNumbers

    @property
    def draws(self) -> Mapping[str, Array]:
        """Of its numbers."""
        return self.numbers.draws


def means_of_networks(
    tables: Mapping[str, Array], boot: PairedBootstrap, chance: Mapping[str, float | None]
) -> RecipeNumbers:
    """Means over images.

    Args:
        tables: number to its values (S, N), a row for each network; an image that is not finite for some network is
            left out for all.
        boot: over the N images.
        chance: number to its chance level.
    """
    numbers = RecipeNumbers()
    for name, table in tables.items():
        usable = np.isfinite(table).all(axis=0, keepdims=True)
        values = np.where(usable, table, np.nan)
        means, networks, images = boot.mean(values), len(table), int(usable.sum())
        missing = table.size - networks * images
        numbers.measures[name] = _entry(crossed_mean(table), networks * images, missing, chance.get(name))
        numbers.draws[name] = CrossedDraws(networks, boot.resamples.rows).of(means, values - means[:, :1])
    return numbers


def distance_of_networks(sets: Sequence[SetNumbers], replicates: int, seed: int) -> RecipeNumbers:
    """KID, which is one number of all pictures of a network.

    Args:
        sets: of each network, with a KID.
        replicates: B.
        seed: of the draws by images.
    """
    values = np.array([each.distances[KID] for each in sets])
    errors = np.array([each.distances["kid_standard_error"] for each in sets])
    estimate = crossed_sets(values, errors, sets[0].pictures)
    by_images = np.sqrt((errors**2).mean()) * np.random.default_rng(seed).standard_normal(1 + replicates)
    by_images[0] = 0
    draws = CrossedDraws(len(sets), replicates).of_sets(values, by_images)
    return RecipeNumbers({KID: _entry(estimate, sum(each.pictures for each in sets), 0, None)}, {KID: draws})


def _entry(estimate: CrossedEstimate, n: int, degenerate: int, chance: float | None) -> CellMeasureEntry:
    return CellMeasureEntry(
        mean=plain_number(estimate.mean),
        low=plain_number(estimate.low),
        high=plain_number(estimate.high),
        n=n,
        degenerate=degenerate,
        chance=chance,
        networks=estimate.networks,
        unit=estimate.unit,
        each=[plain_number(each) for each in estimate.each],
    )
