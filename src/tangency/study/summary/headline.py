"""The recipe that a study is summed up by, and its claim under every estimator of the tangent space."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tangency.evaluate.fitting.tangents import tangent_names
from tangency.evaluate.numbers import Columns
from tangency.evaluate.verdicts import SweepRows, SweepVerdicts
from tangency.evaluate.verdicts.aligned import aligned
from tangency.evaluate.verdicts.entries import AlignmentUnder, RecipeVerdict
from tangency.evaluate.verdicts.manifold import corrected
from tangency.measures.definition import rank_key
from tangency.measures.keys import FRACTION, Key
from tangency.statistics.regimes import Thresholds
from tangency.study.spec import StudySpec
from tangency.study.summary.entries import EstimatorEntry
from tangency.study.summary.sweep import Sweep
from tangency.study.summary.sweep_entries import ClaimEntry, HeadlineEntry
from tangency.study.sweep import STANDARD
from tangency.tangents.references import kind_of

_RULES = {
    "bayes_aligned": "the largest L, mean over Bayes directions, among the Bayes-aligned recipes",
    "": "no recipe is Bayes-aligned; the largest L, mean over Bayes directions, among those of non-inferior accuracy",
}


def headline(
    sweep: Sweep, verdicts: SweepVerdicts, withheld: Mapping[str, str], spec: StudySpec
) -> HeadlineEntry | None:
    """The Bayes-aligned recipe of the largest L, else the one of non-inferior accuracy; None without such a one.

    The rule is fixed before looking, and looks at no label that is withheld: the recipe stays the headline, without
    its label.
    """
    standard = sweep.rows.standard
    judged = [each for each in verdicts.recipes.values() if each.objective != STANDARD and each.aligned]
    best = [each for each in judged if each.regime == "bayes_aligned"]
    candidates = best or [each for each in judged if _not_inferior(each, verdicts.thresholds.accuracy_margin)]
    if standard is None or not candidates:
        return None
    chosen = max(candidates, key=_level)
    direction, plain = min(chosen.aligned.items(), key=lambda item: _bound(item[1]))
    among = sum(len(each.aligned) for each in judged)
    under = _corrected(sweep.rows, chosen.name, direction, plain, verdicts.thresholds, among) or plain
    claims = _claims(chosen, verdicts, spec)
    return HeadlineEntry(
        recipe=chosen.name,
        trials=[trial.id for trial in sweep.trials[chosen.name]],
        baseline=standard.name,
        baseline_trials=[trial.id for trial in sweep.trials[standard.name]],
        rule=_RULES["bayes_aligned" if best else ""],
        regime=None if chosen.name in withheld else chosen.regime,
        withheld=withheld.get(chosen.name),
        unit=chosen.unit,
        networks=chosen.networks,
        direction=direction,
        among=among,
        alignment=under.alignment,
        over_standard=under.over_standard,
        over_filter=under.over_filter,
        estimator=claims[0].name if claims else "",
        on_manifold=chosen.on_manifold,
        claims=claims,
    )


def _corrected(
    rows: SweepRows, name: str, direction: str, under: AlignmentUnder, thresholds: Thresholds, among: int
) -> AlignmentUnder | None:
    """The same with intervals of a level corrected for all those that it was chosen among (Bonferroni).

    They then hold for all recipes and directions at once, and so for the one that was chosen.
    """
    recipe = next(each for each in rows.recipes if each.name == name)
    wide = dataclasses.replace(thresholds, level=corrected(thresholds.level, among))
    return aligned(rows, recipe, direction, under.column, wide)


def _not_inferior(verdict: RecipeVerdict, margin: float) -> bool:
    difference = verdict.accuracy_difference
    return verdict.regime not in ("collapsed", "excessive") and difference is not None and difference.low > -margin


def _level(verdict: RecipeVerdict) -> float:
    return float(np.mean([under.alignment.mean for under in verdict.aligned.values()]))


def _bound(under: AlignmentUnder) -> float:
    """How far L is shown to be beyond smoothing, or where that is not measured, above the standard network's."""
    rise = under.beyond_filter or under.over_standard
    return rise.low if rise else under.alignment.low


def _claims(chosen: RecipeVerdict, verdicts: SweepVerdicts, spec: StudySpec) -> list[ClaimEntry]:
    """log F²/control of the recipe and its change under each estimator, the lowest first."""
    names = dict(zip(_keys(spec), estimator_names(spec), strict=True))
    thesis = verdicts.thesis.get(chosen.objective)
    changes = thesis.changes[chosen.name].fraction if thesis and chosen.name in thesis.changes else {}
    claims = [
        ClaimEntry(
            name=names.get(own, own),
            status=under.status,
            reason=under.reason,
            worst=under.worst,
            change=changes.get(own),
        )
        for own, under in chosen.manifold.items()
    ]
    return sorted(claims, key=lambda claim: claim.worst.low if claim.worst else -np.inf)


def estimator_names(spec: StudySpec) -> list[str]:
    """Names of the estimators of the tangent space, that of the score for none that is named."""
    return tangent_names(spec.tangents) if spec.tangents else [spec.score.kind]


def _keys(spec: StudySpec) -> list[str]:
    """How keys name the estimators: the first one not at all."""
    return ["", *estimator_names(spec)[1:]]


def estimator_entries(spec: StudySpec, columns: Mapping[str, Columns]) -> list[EstimatorEntry]:
    """The estimators of the tangent space, with their mean ranks."""
    first, entries = next(iter(columns.values())), []
    references = spec.tangents or (spec.score.kind,)
    for name, reference, own in zip(estimator_names(spec), references, _keys(spec), strict=True):
        rank = float(first[str(rank_key(Key.parse(FRACTION).at(tangents=own)))].mean())
        entries.append(EstimatorEntry(name=name, kind=kind_of(reference), reference=reference, rank=rank))
    return entries
