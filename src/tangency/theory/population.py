"""A large population of images from a world, measured once, from which data sets are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tangency.autodiff import input_gradient
from tangency.evaluate.numbers import Columns
from tangency.measures import MeasureConfig, measure
from tangency.measures.keys import FRACTION, MARGIN, Key
from tangency.numerics import flat, unit
from tangency.statistics.resamples import Array
from tangency.tangents import WorldTangents
from tangency.theory.coverage import Repair
from tangency.types import OnProgress
from tangency.worlds import GaussianCore, World, drawn

_CHUNK = 4000
_FRACTION = Key.parse(FRACTION)


@dataclass(frozen=True)
class Population:
    """Measured images of a world.

    Args:
        columns: measure key to (N,); shuffled controls hold their mean over all partners, so that means are exact; NaN
            where all images share one tangent space.
        fractions: (N, K), F² of each image's gradient in the tangent space of each of the world's K components.
        component: (N,), the component whose tangent space is that of the image.
        labels: (N,).
        classes: (K,), the class that each component is of.
    """

    columns: Columns
    fractions: Array
    component: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: NDArray[np.int64]

    @property
    def typical(self) -> NDArray[np.bool_]:
        """Whether an image has a tangent space of its class, (N,)."""
        typical: NDArray[np.bool_] = self.classes[self.component] == self.labels
        return typical


def measured_population(
    world: World,
    model: nn.Module,
    images: int,
    config: MeasureConfig,
    seed: int = 0,
    on_progress: OnProgress = lambda part, share: None,
) -> Population:
    """Measure one classifier on many images of a world with its exact score and tangent spaces, in chunks."""
    reference = drawn(world, 5000, seed + 1)
    tangents, bases = WorldTangents(world), component_bases(world)
    columns: dict[str, list[Array]] = {}
    fractions, components, labels = [], [], []
    for start in range(0, images, _CHUNK):
        data = drawn(world, min(_CHUNK, images - start), seed, start)
        x, y = data.images(), data.labels
        rows = measure(model, x, y, train_data=reference, score=world, tangents=tangents, config=config)
        for key, values in rows.columns.items():
            columns.setdefault(key, []).append(values.numpy())
        gradient = unit(input_gradient(model, x, y, MARGIN).direction)
        inside = torch.einsum("nd,kdr->nkr", flat(gradient), bases.to(gradient.dtype)).square().sum(2)
        fractions.append(inside.double().numpy())
        components.append(component_of(world, x).numpy())
        labels.append(y.numpy())
        on_progress("measuring", (start + len(x)) / images)
    whole = {key: np.concatenate(parts) for key, parts in columns.items()}
    population = Population(
        whole, np.concatenate(fractions), np.concatenate(components), np.concatenate(labels), component_classes(world)
    )
    whole |= _expected_controls(population)
    return population


def _components(world: World) -> GaussianCore | None:
    """The law of a world whose components have tangent spaces of their own; None where all images share one."""
    core = world.core
    return core if isinstance(core, GaussianCore) and not core.whole else None


def component_bases(world: World) -> Tensor:
    """(K, d, k) orthonormal bases of the world's different tangent spaces; one where all images share it."""
    core = _components(world)
    if core is None:
        return world.tangent_basis(world.sample(1, 0).x)[0]
    return world.embedding.lift(core.mixture.bases()[0])


def component_classes(world: World) -> NDArray[np.int64]:
    """The class of each of `component_bases`, (K,); 0 where all images share one."""
    core = _components(world)
    return np.zeros(1, dtype=np.int64) if core is None else core.mixture.component_class.numpy()


def component_of(world: World, x: Tensor) -> Tensor:
    """Which of `component_bases` is the tangent space of each image, (N,)."""
    core = _components(world)
    if core is None:
        return torch.zeros(len(x), dtype=torch.int64)
    return core.component(world.embedding.encode(flat(x).double())[0])


def _expected_controls(population: Population) -> Columns:
    """Mean of the shuffled controls over the partner, of another component, for each image; NaN where there is none."""
    fractions, component, labels = population.fractions, population.component, population.labels
    of_class = np.empty(len(labels))
    for c in np.unique(labels):
        own = labels == c
        partners = component[own & population.typical]
        means = _mean_over_others(fractions[own], component[own], partners)
        of_class[own] = means if len(np.unique(partners)) > 1 else np.nan
    return {
        str(_FRACTION.under("shuffled")): _mean_over_others(fractions, component, component),
        str(_FRACTION.under("shuffled_class")): of_class,
    }


def _mean_over_others(fractions: Array, component: NDArray[np.int64], drawn: NDArray[np.int64]) -> Array:
    """Mean of F² (N, K) over those of the `drawn` components (M,) that are not the image's own, for each image (N,)."""
    counts = np.bincount(drawn, minlength=fractions.shape[1]).astype(np.float64)
    rows = np.arange(len(component))
    others = len(drawn) - counts[component]
    total = fractions @ counts - fractions[rows, component] * counts[component]
    mean: Array = np.divide(total, others, out=np.full(len(component), np.nan), where=others > 0)
    return mean


def repairs(population: Population) -> Repair:
    """Shuffled controls whose partner is an image of the same data set with another tangent space, as measured."""

    def repair(chosen: NDArray[np.int64], rng: np.random.Generator) -> Columns:
        labels, component = population.labels[chosen], population.component[chosen]
        columns = {}
        nobody = int(population.labels.max()) + 1  # a group from which no partner is drawn
        members = np.where(population.typical[chosen], labels, nobody)
        everyone = np.zeros_like(labels)
        for name, group, own in (("shuffled", everyone, everyone), ("shuffled_class", labels, members)):
            partner = drawn_apart(group, own, component, rng)
            for c in np.unique(group):  # a class of one tangent space has no control
                if len(np.unique(component[own == c])) < 2:
                    partner[group == c] = -1
            values = population.fractions[chosen, component[partner]]
            columns[str(_FRACTION.under(name))] = np.where(partner >= 0, values, np.nan)
        return columns

    return repair


def drawn_apart(
    group: NDArray[np.int64], member: NDArray[np.int64], kind: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """For each of N a random member of its group that is of another kind, (N,); −1 where there is none."""
    kinds = int(kind.max()) + 1
    order = (member * kinds + kind).argsort(kind="stable")
    ordered, groups, own = (member * kinds + kind)[order], member[order], group * kinds + kind
    start, stop = np.searchsorted(groups, group), np.searchsorted(groups, group, side="right")
    first, beyond = np.searchsorted(ordered, own), np.searchsorted(ordered, own, side="right")
    others = stop - start - (beyond - first)
    at = start + np.floor(rng.random(len(group)) * others).astype(np.int64)
    at += (at >= first) * (beyond - first)
    return np.where(others > 0, order[np.minimum(at, len(order) - 1)], -1)
