"""Own tangent spaces against shams, criterion by criterion: differences, the rule, and what could have been found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tangency.cause.arms import OFF, Arm
from tangency.cause.best import SEED_SDS, over_best, seed_sd, smallest_found
from tangency.cause.entries import ArmEntry, BestEntry, CriterionEntry, DifferenceEntry, Kind, Verdict
from tangency.cause.match import ACCURACY, match, radii
from tangency.cause.spec import CauseSpec
from tangency.evaluate.verdicts import Recipe
from tangency.evaluate.verdicts.recipes import directions, estimators, shared_seeds
from tangency.measures.definition import rank_key
from tangency.measures.keys import Key
from tangency.statistics import CrossedEstimate, crossed_difference, crossed_log_ratio, crossed_mean
from tangency.statistics.regimes import Thresholds
from tangency.statistics.resamples import Array

HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
OPEN: Verdict = "cannot be decided"
UNCLAIMED: Verdict = "no claim"
FEWEST = 3  # networks of an arm, below which nothing is claimed


def arm_entries(spec: CauseSpec, strengths: Mapping[str, float], recipes: Mapping[str, Recipe]) -> list[ArmEntry]:
    """An entry for each arm of the spec; one without networks has neither accuracy nor match.

    Args:
        spec: the causal study.
        strengths: arm to strength.
        recipes: arm to its networks in the matched study.
    """
    entries = []
    base = recipes.get(spec.base)
    for arm in spec.arms:
        own = recipes.get(arm.name)
        medians = radii(own, list(own.networks)) if own else np.zeros(0)
        matching = None
        if own and base and own is not base and shared_seeds(own, base):
            matching = match(own, base, spec.match)
        entries.append(
            ArmEntry(
                arm=arm.name,
                strength=strengths[arm.name] if arm.part else 0.0,
                seeds=list(own.networks) if own else [],
                accuracy=crossed_mean(own.values(ACCURACY)) if own else None,
                radius=float(np.exp(np.log(medians).mean())) if len(medians) and (medians > 0).all() else None,
                match=matching,
                matched=own is not None and (own is base or bool(matching and matching.matched)),
            )
        )
    return entries


def criterion_entries(
    spec: CauseSpec,
    recipes: Mapping[str, Recipe],
    arms: Sequence[ArmEntry],
    criteria: Mapping[str, bool],
    names: Mapping[str, str],
    dimension: int,
) -> list[CriterionEntry]:
    """An entry for each criterion of which every network has the column.

    Args:
        spec: the causal study.
        recipes: arm to its networks.
        arms: with their match.
        criteria: name of a criterion to whether it is held out, as of `CauseSpec.held_out`.
        names: reference of an estimator to its name in the rows, "" for the first.
        dimension: d of an image, for the floor of F².
    """
    own = list(recipes.values())
    columns = dict(directions(own))
    by_name = estimators(own)
    columns |= {reference: by_name[name] for reference, name in names.items() if name in by_name}
    return [
        _entry(spec, recipes, arms, name, columns[name], held_out, dimension)
        for name, held_out in criteria.items()
        if name in columns and all(recipe.has(columns[name]) for recipe in own)
    ]


def _entry(
    spec: CauseSpec,
    recipes: Mapping[str, Recipe],
    arms: Sequence[ArmEntry],
    criterion: str,
    column: str,
    held_out: bool,
    dimension: int,
) -> CriterionEntry:
    kind: Kind = "tangents" if Key.parse(column).family == "tangent_fraction" else "direction"
    values = _values(recipes, column)
    units = _Units.of(kind, next(iter(recipes.values())), column, dimension)
    matched = {entry.arm: entry.matched and entry.arm in values for entry in arms}
    margin = spec.margin.fraction if kind == "tangents" else spec.margin.direction
    pairs = [
        _difference(name, values, units, matched.get(OFF, False) and matched[name])
        for name in values
        if name != OFF and OFF in values
    ]
    best = _best(spec.arms, values, units, matched)
    verdict, reason = _verdict(spec.arms, best, matched, margin, len(next(iter(values.values()), [])))
    shuffled = str(Key.parse(column).under("shuffled"))
    return CriterionEntry(
        criterion=criterion,
        kind=kind,
        held_out=held_out,
        column=column,
        margin=margin,
        levels={name: crossed_mean(own) for name, own in values.items()},
        shuffled={n: crossed_mean(r.values(shuffled)) for n, r in recipes.items() if _measured(r, shuffled)},
        differences=pairs,
        best=best,
        verdict=verdict,
        reason=reason,
    )


def _measured(recipe: Recipe, column: str) -> bool:
    return recipe.has(column) and bool(np.isfinite(recipe.values(column)).any())


def _values(recipes: Mapping[str, Recipe], column: str) -> dict[str, Array]:
    """Arm to (S, n) of the seeds that all arms have and the images that are finite in all of them.

    An arm whose networks have collapsed, without a finite value, is left out, so that it takes no image from others.
    """
    seeds = shared_seeds(*recipes.values())
    if not seeds:
        return {}
    values = {name: recipe.values(column, seeds) for name, recipe in recipes.items()}
    values = {name: own for name, own in values.items() if np.isfinite(own).any()}
    if not values:
        return {}
    usable = np.isfinite(np.stack(list(values.values()))).all((0, 1))
    return {name: own[:, usable] for name, own in values.items()}


@dataclass(frozen=True)
class _Units:
    """How levels are compared: cosines by differences, F² by logarithms above a floor, in units of F²."""

    floor: float | None = None

    def difference(self, a: Array, b: Array, level: float = 0.95) -> CrossedEstimate:
        """a − b, or log a − log b, with its interval."""
        return crossed_difference(a, b, level) if self.floor is None else crossed_log_ratio(a, b, self.floor, level)

    def levels(self, values: Array) -> Array:
        """Of each network, (S,), in the unit of the differences."""
        means: Array = values.mean(1)
        return means if self.floor is None else np.log(np.maximum(means, self.floor))

    @classmethod
    def of(cls, kind: Kind, recipe: Recipe, column: str, dimension: int) -> _Units:
        """The floor of F² is .01 k/d, as that of every verdict on it."""
        if kind == "direction":
            return cls()
        rank = float(np.nanmean(recipe.values(str(rank_key(Key.parse(column))))))
        return cls(Thresholds().floor * rank / dimension)


def _difference(other: str, values: Mapping[str, Array], units: _Units, matched: bool) -> DifferenceEntry:
    estimate = units.difference(values[OFF], values[other])
    sd = seed_sd(units.levels(values[OFF]), units.levels(values[other]))
    return DifferenceEntry(
        arm=other,
        difference=estimate,
        seed_sd=sd,
        smallest_found=smallest_found(estimate, sd),
        matched=matched,
    )


def _best(
    arms: Sequence[Arm], values: Mapping[str, Array], units: _Units, matched: Mapping[str, bool]
) -> BestEntry | None:
    """off-own against the best of the shams that are matched; None where it is not matched itself, or none of them."""
    shams = {arm.name: values[arm.name] for arm in arms if arm.is_sham and arm.name in values and matched[arm.name]}
    if OFF not in values or not matched[OFF] or not shams:
        return None
    result = over_best(values[OFF], shams, units.difference)
    sds = {name: seed_sd(units.levels(values[OFF]), units.levels(own)) for name, own in shams.items()}
    smallest = [smallest_found(result.each[name], sds[name], len(shams)) for name in shams]
    sd = sds[result.best]
    return BestEntry(
        sham=result.best,
        mean=result.mean,
        low=result.low,
        high=result.high,
        seed_sd=sd,
        seed_sds=result.mean / sd if sd > 0 else float(np.copysign(np.inf, result.mean)),
        smallest_found=max(smallest),
    )


def _verdict(
    arms: Sequence[Arm], best: BestEntry | None, matched: Mapping[str, bool], margin: float, networks: int
) -> tuple[Verdict, str]:
    """The rule: a sham that is not matched can refute nothing, and a claim must have beaten all of them."""
    loose = [arm.name for arm in arms if arm.is_sham and not matched.get(arm.name)]
    if not matched.get(OFF):
        return UNCLAIMED, f"{OFF} is not matched with the base arm."
    if best is None:
        return UNCLAIMED, "No sham is matched with the base arm."
    if networks < FEWEST:
        return UNCLAIMED, f"{networks} networks of each arm; at least {FEWEST} are needed."
    if best.low > 0 and best.mean >= SEED_SDS * best.seed_sd:
        if loose:
            return OPEN, f"Above every matched sham, but {', '.join(loose)} cannot be compared: not matched."
        return HOLDS, f"Above the best sham, {best.sham}, by its interval and by {best.seed_sds:.1f} seed sds."
    if best.high <= margin:
        return FAILS, f"Own − {best.sham} is at most {best.high:.3f}, within the margin of {margin:g}."
    if best.low > 0:
        return OPEN, f"Above {best.sham} by its interval, but by {best.seed_sds:.1f} seed sds, fewer than {SEED_SDS:g}."
    return OPEN, f"The interval [{best.low:.3f}, {best.high:.3f}] holds 0 and more than the margin of {margin:g}."


def whole_verdict(criteria: Sequence[CriterionEntry]) -> Verdict:
    """Of all held-out criteria: every one must say that it holds; one that says that it does not suffices."""
    said = [entry.verdict for entry in criteria if entry.held_out]
    if FAILS in said:
        return FAILS
    if not said or UNCLAIMED in said:
        return UNCLAIMED
    return HOLDS if all(each == HOLDS for each in said) else OPEN
