"""Verdicts where the truth is known: what is said of the Bayes rule, of small networks and of logits × c."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor, nn

from tangency.evaluate.filters import Filtered, FilterSearch, FilterSource
from tangency.evaluate.numbers import Columns
from tangency.evaluate.verdicts import Recipe, RecipeVerdict, SweepRows, SweepVerdicts, verdicts
from tangency.evaluate.verdicts.entries import OnManifold
from tangency.measures import MeasureConfig, measure
from tangency.models import build
from tangency.objectives import make
from tangency.statistics.resamples import Array
from tangency.tangents import WorldTangents
from tangency.theory.claims import Claim, zero_claim
from tangency.training import TrainConfig, train
from tangency.types import LabelledImages
from tangency.worlds import BayesClassifier, World, drawn, make_world

TOPIC = "verdicts"
_TRAIN, _TEST, _SEARCH = 800, 300, 200  # images
_FACTORS = (0.03, 0.1, 0.3, 3.0, 10.0, 30.0)
_UNMOVED = 1e-6
_BAYES, _BEHIND, _DIRECTION = "Bayes rule", "pca-25", "bayes_gradient"
_STANDARD, _ROBUST = ("standard", 0.0), ("gradient_norm", 0.1)


def verdict_claims(seed: int = 0) -> list[Claim]:
    """All claims about verdicts, with the exact score and the exact tangent spaces."""
    return [
        *on_one_subspace(seed),
        *on_a_fitted_mixture(seed),
        *on_parallel_subspaces(seed),
        *on_a_decoder(seed),
    ]


def on_one_subspace(seed: int) -> list[Claim]:
    """One subspace for all classes: aligned, and on-manifold only against controls that no image has; logits × c."""
    sweep = WorldSweep(make_world("linear?shape=1x12x12&rank=4"), 0.0, seed)
    rows = sweep.rows((_STANDARD, _ROBUST))
    own = verdicts(rows)
    return [
        *_aligned(own, sweep.world),
        _said("the exact Bayes rule is on-manifold (global)", sweep.world, own, "shown (global)"),
        *_unmoved(sweep, rows, own),
    ]


def on_a_fitted_mixture(seed: int) -> list[Claim]:
    """A tangent space for each component: the Bayes rule is on-manifold, other images' spaces among the controls."""
    sweep = WorldSweep(make_world("fitted?size=14&rank=6&images=2000"), 0.0, seed)
    own = verdicts(sweep.rows((_STANDARD,)))
    title = "the standard network is shown not to be on-manifold: upper bound of log F²/control"
    return [
        *_aligned(own, sweep.world),
        _said("the exact Bayes rule is on-manifold", sweep.world, own, "shown"),
        Claim(TOPIC, title, sweep.world.name, 0.0, _highest(own.recipes.values()), 0.0, "≤"),
    ]


def on_a_decoder(seed: int) -> list[Claim]:
    """A curved manifold of realistic images: the Bayes rule is aligned and on-manifold."""
    sweep = WorldSweep(make_world("decoder?classes=4"), 0.0, seed)
    own = verdicts(sweep.rows((_STANDARD,)))
    return [*_aligned(own, sweep.world), _said("the exact Bayes rule is on-manifold", sweep.world, own, "shown")]


def on_parallel_subspaces(seed: int) -> list[Claim]:
    """Bayes gradients are wholly normal: aligned, but nothing is on-manifold, and the paper's thesis fails."""
    sweep = WorldSweep(make_world("offset?shape=1x12x12&rank=4&classes=4"), 0.2, seed)
    own = verdicts(sweep.rows((_STANDARD, _ROBUST)))
    everyone = [*own.recipes.values(), *own.references.values()]
    shown = sum(each.on_manifold != "not" for each in everyone)
    title = "parallel subspaces: the largest upper bound of log F²/control"
    name, failed = sweep.world.name, own.thesis[_ROBUST[0]].status == "fails"
    return [
        *_aligned(own, sweep.world),
        zero_claim(TOPIC, "parallel subspaces: verdicts that do not say 'not on-manifold'", name, float(shown)),
        Claim(TOPIC, title, name, 0.0, _highest(everyone), 0.0, "≤"),
        Claim(TOPIC, "parallel subspaces: the thesis is reported to fail (1 for yes)", name, 1.0, float(failed), 0.0),
    ]


def _highest(everyone: Iterable[RecipeVerdict]) -> float:
    """The largest upper bound of log F²/control, each against its best control; infinite where one has none."""
    worst = [under.worst for each in everyone for under in each.manifold.values()]
    return max(np.inf if bounds is None else bounds.high for bounds in worst)


def _aligned(own: SweepVerdicts, world: World) -> list[Claim]:
    """The Bayes rule is Bayes-aligned; the standard network behind a PCA projection is not, though its L is higher."""
    rule, behind = own.references[_BAYES], own.references[_BEHIND]
    beyond = rule.aligned[_DIRECTION].beyond_filter
    rightly, wrongly = (float(each.regime == "bayes_aligned") for each in (rule, behind))
    title = "the exact Bayes rule: lower bound of L beyond the best fixed linear filter"
    no = "the standard network behind a PCA projection is labelled Bayes-aligned (0 for no)"
    return [
        Claim(TOPIC, "the exact Bayes rule is labelled Bayes-aligned (1 for yes)", world.name, 1.0, rightly, 0.0),
        Claim(TOPIC, title, world.name, 0.0, beyond.low if beyond else -np.inf, 0.0, "≥"),
        zero_claim(TOPIC, no, world.name, wrongly),
    ]


def _said(claim: str, world: World, own: SweepVerdicts, expected: OnManifold) -> Claim:
    said = own.references[_BAYES].on_manifold == expected
    return Claim(TOPIC, f"{claim} (1 for yes)", world.name, 1.0, float(said), 0.0)


def _unmoved(sweep: WorldSweep, rows: SweepRows, own: SweepVerdicts) -> list[Claim]:
    """The robust network's verdict with logits × c, the largest change over c."""
    recipe = rows.recipes[-1]
    net, before = sweep.trained(*_ROBUST), own.recipes[recipe.name]
    labels, moved = 0, np.zeros(3)
    for factor in _FACTORS:
        scaled = replace(recipe, networks={0: sweep.measured(Scaled(net, factor))})
        after = verdicts(replace(rows, recipes=[*rows.recipes[:-1], scaled])).recipes[recipe.name]
        labels += (before.regime, before.on_manifold) != (after.regime, after.on_manifold)
        moved = np.maximum(moved, [np.abs(a - b).max() for a, b in zip(_levels(before), _levels(after), strict=True)])
    name = f"{sweep.world.name}, c from {min(_FACTORS):g} to {max(_FACTORS):g}"
    words = ("L and its interval", "log F²/control and its intervals", "the effective strength")
    changes = zip(words, moved, strict=True)
    return [
        zero_claim(TOPIC, "logits × c: labels that change", name, float(labels)),
        *(zero_claim(TOPIC, f"logits × c: change of {what}", name, float(by), _UNMOVED) for what, by in changes),
    ]


def _levels(verdict: RecipeVerdict) -> tuple[Array, Array, Array]:
    """L, and log F² over every control, each with its interval, and the effective strength."""
    level = verdict.aligned[_DIRECTION].alignment
    ratios = [estimate for under in verdict.manifold.values() for estimate in under.controls.values()]
    radius = verdict.radius.mean if verdict.radius else np.nan
    return (
        np.array([level.mean, level.low, level.high]),
        np.array([[each.mean, each.low, each.high] for each in ratios]),
        np.array([radius]),
    )


@dataclass(frozen=True)
class WorldSweep:
    """A world with convnets that are trained in it within seconds, and verdicts' rows with exact score and tangents.

    Args:
        world: the truth.
        sigma: of the Bayes directions and of the Bayes rule.
        seed: of images and trainings.
    """

    world: World
    sigma: float
    seed: int

    @cached_property
    def train(self) -> LabelledImages:
        """Training images."""
        return drawn(self.world, _TRAIN, self.seed)

    @cached_property
    def test(self) -> LabelledImages:
        """Other ones, that are measured."""
        return drawn(self.world, _TEST, self.seed, _TRAIN)

    @cached_property
    def _nets(self) -> dict[tuple[str, float], nn.Module]:
        return {}

    def trained(self, objective: str, strength: float) -> nn.Module:
        """A network of this objective and strength, trained at the first call."""
        if (objective, strength) not in self._nets:
            net = build("convnet", self.world.shape, self.world.classes, self.seed)
            options = [strength] if strength else []
            config = TrainConfig(epochs=2, batch_size=64, seed=self.seed)
            with tempfile.TemporaryDirectory() as folder:
                train(net, self.train, make(objective, *options), config, folder)
            self._nets[objective, strength] = net
        return self._nets[objective, strength]

    def measured(self, net: nn.Module) -> Columns:
        """Columns of a network on the test images."""
        config = MeasureConfig(sigmas=(self.sigma,), rho_sigmas=(), epsilons=(), directions=1, metrics=("cosine",))
        rows = measure(
            net,
            self.test.images(),
            self.test.labels,
            train_data=self.train,
            score=self.world,
            tangents=WorldTangents(self.world),
            config=config,
        )
        return {key: values.cpu().numpy().astype(np.float64) for key, values in rows.columns.items()}

    def rows(self, sweep: Sequence[tuple[str, float]]) -> SweepRows:
        """Networks of (objective, strength), one seed each, with the Bayes rule and the best fixed linear filter."""
        standard = self.trained(*_STANDARD)
        scores = {_DIRECTION: self.world}
        search = FilterSearch.prepared(scores, self.train, self.sigma, count=_SEARCH, seed=self.seed)
        best, source = search.best(standard), FilterSource(self.train)
        names = best.chosen[_DIRECTION], _BEHIND
        filtered, projected = (self.measured(Filtered(source.named(name), standard)) for name in names)
        rule = self.measured(BayesClassifier(self.world, self.sigma))
        return SweepRows(
            [Recipe(f"{o} {s:g}", o, s, {0: self.measured(self.trained(o, s))}) for o, s in sweep],
            constant=float(self.test.class_counts.max()) / len(self.test),
            dimension=self.world.dimension,
            exact=True,
            filtered={_DIRECTION: Recipe("filtered", "filter", 0.0, {0: filtered})},
            slack=best.slack,
            references=[
                Recipe(_BAYES, "reference", 0.0, {0: rule}, fixed=True),
                Recipe(_BEHIND, "reference", 0.0, {0: projected}),
            ],
        )


class Scaled(nn.Module):
    """Logits × c: the same decisions."""

    def __init__(self, net: nn.Module, factor: float) -> None:
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.factor * self.net(x)
        return logits
