"""Columns of a study as the rows of a sweep, and its verdicts: of all seeds together, and of each seed alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tangency.evaluate.numbers import Columns, best_constant
from tangency.evaluate.verdicts import Recipe, SweepRows, SweepVerdicts, verdicts
from tangency.evaluate.verdicts.entries import RecipeVerdict, ThesisVerdict
from tangency.evaluate.verdicts.recipes import estimators
from tangency.measures.definition import rank_key
from tangency.measures.keys import FRACTION, Key
from tangency.statistics import Kappa
from tangency.statistics.resamples import Array
from tangency.study.plan import BAYES, FILTERED, Trial, cell_of, is_reference, labels_of, measured_images
from tangency.study.spec import StudySpec
from tangency.study.sweep import STANDARD
from tangency.types import Dataset


@dataclass(frozen=True)
class LostCell:
    """A trained cell of which every network diverged; no recipe of a sweep."""

    objective: str
    strength: float
    networks: int

    @property
    def words(self) -> str:
        """ "strength 30: all 5 networks diverged"."""
        return f"strength {self.strength:g}: {_all_of(self.networks)} diverged"


def _all_of(networks: int) -> str:
    return f"all {networks} networks" if networks > 1 else "its one network"


@dataclass(frozen=True)
class Sweep:
    """A study's networks by recipe.

    Args:
        rows: of all seeds.
        trials: cell id to its measured trials.
        lost: cell id to how many of its networks diverged.
        diverged: the trained cells of which all did.
    """

    rows: SweepRows
    trials: Mapping[str, Sequence[Trial]]
    lost: Mapping[str, int]
    diverged: Sequence[LostCell] = ()

    @classmethod
    def of(
        cls,
        spec: StudySpec,
        data: Dataset,
        planned: Sequence[Trial],
        outcomes: Mapping[str, Mapping[str, Any]],
        columns: Mapping[str, Columns],
        dimension: int,
    ) -> Sweep:
        """The sweep of the trials of a study, without those that were trained longer.

        Args:
            spec, data: of the study.
            planned: its trials.
            outcomes: id to how the training of each ended, or which filter was chosen.
            columns: id to the rows of each that was measured.
            dimension: d of an image at the working size.
        """
        cells: dict[str, list[Trial]] = {}
        for trial in planned:
            cells.setdefault(cell_of(trial), []).append(trial)
        trials = {name: [trial for trial in group if trial.id in columns] for name, group in cells.items()}
        lost = {name: len(cells[name]) - len(own) for name, own in trials.items()}
        trials = {name: own for name, own in trials.items() if own}
        curves = labels_of(planned)
        diverged = [
            LostCell(curves[name], group[0].strength, len(group))
            for name, group in cells.items()
            if name not in trials and not is_reference(group[0].name)
        ]
        recipes = {name: _recipe(name, curves[name], own, columns) for name, own in trials.items()}
        measured = [i for shard in measured_images(spec, data) for i in shard]
        beside = {name for name, own in trials.items() if _beside(own[0], curves[name])}
        rows = SweepRows(
            [recipe for name, recipe in recipes.items() if name not in beside],
            constant=best_constant(data.test.labels[measured]),
            dimension=dimension,
            exact=spec.score.kind == "exact",
            filtered={target: recipes[name] for target, name in FILTERED.items() if name in recipes},
            slack=_slack(trials, outcomes),
            references=[recipe for name, recipe in recipes.items() if name in beside],
        )
        return cls(rows, trials, lost, diverged)

    def alone(self, seed: int) -> SweepRows | None:
        """The rows of one seed, a fixed recipe among them; None where no network of it was trained."""

        def own(recipe: Recipe) -> Recipe:
            kept = recipe.networks if recipe.fixed else {s: n for s, n in recipe.networks.items() if s == seed}
            return dataclasses.replace(recipe, networks=kept)

        def those(recipes: Sequence[Recipe]) -> list[Recipe]:
            return [each for each in map(own, recipes) if each.networks]

        rows = self.rows
        recipes, filtered = those(rows.recipes), {t: own(recipe) for t, recipe in rows.filtered.items()}
        if not recipes:
            return None
        filtered = {target: recipe for target, recipe in filtered.items() if recipe.networks}
        return dataclasses.replace(rows, recipes=recipes, filtered=filtered, references=those(rows.references))


def _beside(trial: Trial, curve: str) -> bool:
    """Whether a trial stands beside the sweep: a reference, or a standard network that is not the one of the study."""
    return is_reference(trial.name) or (trial.name == STANDARD and curve != STANDARD)


def _recipe(name: str, curve: str, trials: Sequence[Trial], columns: Mapping[str, Columns]) -> Recipe:
    """The networks of a cell that were measured."""
    own = {trial.seed: columns[trial.id] for trial in trials}
    return Recipe(name, curve, trials[0].strength, own, fixed=trials[0].name == BAYES or trials[0].given is not None)


def _slack(trials: Mapping[str, Sequence[Trial]], outcomes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Bayes direction to how much another filter may exceed the chosen one in L: the most of any seed, ∞ if unknown."""
    each = {target: [outcomes[t.id].get("slack") for t in trials.get(name, ())] for target, name in FILTERED.items()}
    return {t: max(math.inf if slack is None else slack for slack in own) for t, own in each.items() if own}


def log_kappa(columns: Mapping[str, Array], dimension: int, control: str = "") -> float:
    """Pooled ln κ of one network, or of a control subspace in place of the tangent space; NaN where not measured."""
    key = Key.parse(FRACTION)
    rank = columns.get(str(rank_key(key)))
    fraction = columns.get(str(key.under(control)))
    if rank is None or fraction is None:
        return float("nan")
    kappa = Kappa(fraction, rank, dimension)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log(kappa.value(kappa.parts().sum(1, keepdims=True))[0]))


def verdicts_by_trial(sweep: Sweep, together: SweepVerdicts) -> dict[str, RecipeVerdict]:
    """Trial id to the verdict on that network alone, against the networks of its seed; images are the unit."""
    seeds = sorted({trial.seed for own in sweep.trials.values() for trial in own})
    by_seed = {seed: together if len(seeds) == 1 else _verdicts_alone(sweep, seed) for seed in seeds}
    labelled = {}
    for name, own in sweep.trials.items():
        for trial in own:
            alone = by_seed[trial.seed]
            verdict = alone and {**alone.recipes, **alone.references}.get(name)
            if verdict:
                labelled[trial.id] = verdict
    return labelled


def _verdicts_alone(sweep: Sweep, seed: int) -> SweepVerdicts | None:
    rows = sweep.alone(seed)
    return None if rows is None else verdicts(rows)


def thesis_by_estimator(rows: SweepRows) -> dict[str, dict[str, ThesisVerdict]]:
    """Estimator to objective to the paper's thesis under it alone; nothing where there is one."""
    names = list(estimators(rows.recipes))
    return {name: verdicts(_under(rows, name)).thesis for name in names} if len(names) > 1 else {}


def _under(rows: SweepRows, estimator: str) -> SweepRows:
    """The rows without the columns of the other estimators."""

    def own(recipe: Recipe) -> Recipe:
        kept = {
            seed: {text: values for text, values in network.items() if _of(Key.parse(text), estimator)}
            for seed, network in recipe.networks.items()
        }
        return dataclasses.replace(recipe, networks=kept)

    filtered = {target: own(recipe) for target, recipe in rows.filtered.items()}
    return dataclasses.replace(rows, recipes=[own(r) for r in rows.recipes], filtered=filtered, references=[])


def _of(key: Key, estimator: str) -> bool:
    return key.tangents == estimator or not (key.tangents or key.family.startswith("tangent_"))


def curves_of(rows: SweepRows) -> dict[str, list[Recipe]]:
    """Objective to its recipes by rising strength, the standard one first as strength 0."""
    curves: dict[str, list[Recipe]] = {}
    for recipe in rows.recipes:
        if recipe.objective != STANDARD:
            curves.setdefault(recipe.objective, []).append(recipe)
    first = [rows.standard] if rows.standard else []
    return {
        name: first + sorted((r for r in own if r.strength > 0 or not first), key=lambda r: r.strength)
        for name, own in curves.items()
    }
