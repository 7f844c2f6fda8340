"""Labels by the former rule, `rule: kappa`: κ, accuracy and on-manifold change against the standard network's."""

from __future__ import annotations

import numpy as np

from tangency.evaluate.regimes.kappa import REGIME_EPSILON, bands, criteria, judge_regimes
from tangency.measures.keys import Key
from tangency.statistics import KappaCriteria
from tangency.study.plan import Trial, cell_of, is_reference
from tangency.study.spec import StudySpec
from tangency.study.summary.trials import Labelled, Results, baselines


def judged_epsilon(spec: StudySpec) -> float:
    """The step length at which the on-manifold change is judged."""
    return min(spec.measures.epsilons, key=lambda e: abs(e - REGIME_EPSILON))


def kappa_labels(results: Results, spec: StudySpec) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
    """Trial id to its label, against the standard network of its seed, and cell id to that of the mean over seeds.

    Bands are over images: a cell's label is of its networks, and says nothing of further seeds.
    """
    change = str(Key("change_on").at(eps=judged_epsilon(spec)))
    sound = results.sound
    standard = baselines(results.planned, sound)
    trials = [
        trial
        for trial in results.planned
        if trial.id in sound and trial.seed in standard and not is_reference(trial.name)
    ]
    own = {t.id: criteria(results.numbers[t.id], results.numbers[standard[t.seed].id], change) for t in trials}
    cells: dict[str, list[Trial]] = {}
    for trial in trials:
        cells.setdefault(cell_of(trial), []).append(trial)
    whole = {name: group for name, group in cells.items() if len(group) == len(spec.seeds)}
    pooled = {name: _mean([own[trial.id] for trial in group]) for name, group in whole.items()}
    return _labels(own), _labels(pooled)


def _mean(seeds: list[KappaCriteria]) -> KappaCriteria:
    names = KappaCriteria.__dataclass_fields__
    return KappaCriteria(**{name: np.mean([getattr(each, name) for each in seeds], axis=0) for name in names})


def _labels(judged: dict[str, KappaCriteria]) -> dict[str, Labelled]:
    if not judged:
        return {}
    verdicts, sensitivity = judge_regimes(judged)
    return {
        name: Labelled(verdict.regime, sensitivity[name], bands=bands(verdict) or {})
        for name, verdict in verdicts.items()
    }
