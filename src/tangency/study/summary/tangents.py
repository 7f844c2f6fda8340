"""The paper's claim under every estimator of the tangent space of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.evaluate.fitting.tangents import tangent_names
from tangency.evaluate.numbers import Columns, TrialNumbers, as_json
from tangency.measures.definition import rank_key
from tangency.measures.keys import FRACTION, Key
from tangency.statistics import Estimate, Verdict
from tangency.study.plan import Trial
from tangency.study.spec import StudySpec
from tangency.study.summary.headline import most_tangent
from tangency.tangents.references import kind_of


def compare_tangents(
    spec: StudySpec,
    planned: list[Trial],
    numbers: Mapping[str, TrialNumbers],
    verdicts: Mapping[str, Verdict],
    columns: Mapping[str, Columns],
) -> dict[str, Any]:
    """F² minus its best control under each estimator: of the most tangent robust trial, and its rise over standard.

    The trial is the one that the headline speaks of by the first estimator: the largest F² among the weak and the
    Bayes-aligned.

    Returns:
        {"estimators": [{"name", "kind", "reference", "rank"}],
        "claim": [{"name", "trial", "baseline", "excess", "rise"}]}.
    """
    names = tangent_names(spec.tangents)
    keys = [Key.parse(FRACTION).at(tangents=name if place else "") for place, name in enumerate(names)]
    first = next(iter(columns.values()))
    estimators = [
        {
            "name": name,
            "kind": kind_of(reference),
            "reference": reference,
            "rank": float(first[str(rank_key(key))].mean()),
        }
        for name, reference, key in zip(names, spec.tangents, keys, strict=True)
    ]
    return {"estimators": estimators, "claim": _claim(planned, numbers, verdicts, names, list(map(str, keys)))}


def _claim(
    planned: list[Trial],
    numbers: Mapping[str, TrialNumbers],
    verdicts: Mapping[str, Verdict],
    names: list[str],
    keys: list[str],
) -> list[dict[str, Any]]:
    chosen = most_tangent(planned, numbers, verdicts)
    if chosen is None:
        return []
    trial, baseline = chosen
    own, base = numbers[trial.id], numbers[baseline.id]
    claims = []
    for name, key in zip(names, keys, strict=True):
        tangent = own.excess[key]
        rise = Estimate.of(tangent.draws - base.excess[key].draws, own.estimates[key].n)
        estimates = {"excess": as_json(tangent.estimate, best_control=tangent.best), "rise": as_json(rise)}
        claims.append({"name": name, "trial": trial.id, "baseline": baseline.id, **estimates})
    return claims
