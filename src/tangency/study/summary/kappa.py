"""Labels by the former rule, `rule: kappa`: κ, accuracy and on-manifold change against the standard network's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from tangency.evaluate.numbers import Columns, pooled_statistics
from tangency.evaluate.regimes.kappa import MARGINS, REGIME_EPSILON, bands, criteria, judge_regimes
from tangency.measures.keys import KAPPA, Key
from tangency.statistics import KappaThresholds, KappaVerdict, crossed
from tangency.statistics.kappa_rule import KappaRegime, kappa_verdict
from tangency.statistics.resamples import Array
from tangency.study.plan import Trial, cell_of, is_reference
from tangency.study.spec import StudySpec
from tangency.study.summary.cells import influence
from tangency.study.summary.trials import Labelled, Results, baselines


def judged_epsilon(spec: StudySpec) -> float:
    """The step length at which the on-manifold change is judged."""
    return min(spec.measures.epsilons, key=lambda e: abs(e - REGIME_EPSILON))


def kappa_labels(
    results: Results, spec: StudySpec, columns: Mapping[str, Columns], dimension: int
) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
    """Trial id to its label, against the standard network of its seed, and cell id to that of all seeds together.

    Bands of trials are over images, and simultaneous over trials and criteria. Those of a cell of several seeds are
    crossed over networks and images, each for itself; a cell of one seed is its trial.

    Args:
        results: of the study.
        spec: of the study.
        columns: trial id to its rows.
        dimension: d of an image at the working size.
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
    labels = _labels(*judge_regimes(own)) if own else {}
    cells: dict[str, list[Trial]] = {}
    for trial in trials:
        cells.setdefault(cell_of(trial), []).append(trial)
    whole = {name: group for name, group in cells.items() if len(group) == len(spec.seeds)}
    if len(spec.seeds) == 1:
        return labels, {name: labels[trial.id] for name, (trial,) in whole.items()}
    paired = {name: [(columns[t.id], columns[standard[t.seed].id]) for t in group] for name, group in whole.items()}
    return labels, _labels(*judge_recipes(paired, change, dimension))


def judge_recipes(
    recipes: Mapping[str, Sequence[tuple[Columns, Columns]]], change: str, dimension: int
) -> tuple[dict[str, KappaVerdict], dict[str, dict[str, KappaRegime]]]:
    """Verdict of each recipe, and its regime at each accuracy margin, by the intervals of `statistics.crossed`.

    Args:
        recipes: name to the rows of each of its networks, beside those of the standard network of the same seed.
        change: key of the on-manifold change.
        dimension: d.
    """
    verdicts, sensitivity = {}, {}
    for name, networks in recipes.items():
        each = [_contrasts(own, baseline, change, dimension) for own, baseline in networks]
        values, influences = np.stack([value for value, _ in each]), np.stack([of_images for _, of_images in each])
        judged = [crossed(values[:, number], influences[:, number]) for number in range(values.shape[1])]
        defined = np.array([math.isfinite(one.low) and math.isfinite(one.high) for one in judged])
        low = np.where(defined, [one.low for one in judged], -np.inf)
        high = np.where(defined, [one.high for one in judged], np.inf)
        by = partial(kappa_verdict, np.array([one.mean for one in judged]), low, high)
        verdicts[name] = by(KappaThresholds())
        sensitivity[name] = {f"{margin:g}": by(KappaThresholds(accuracy_margin=margin)).regime for margin in MARGINS}
    return verdicts, sensitivity


def _contrasts(own: Columns, baseline: Columns, change: str, dimension: int) -> tuple[Array, Array]:
    """The contrasts of `KappaCriteria` of one network, (4,), and the influence of each image on them, (4, N)."""
    (kappa, accuracy, on), (kappa0, accuracy0, on0) = (
        [influence(pooled_statistics(rows, dimension)[key]) for key in (KAPPA, "accuracy", change)]
        for rows in (own, baseline)
    )
    (k, of_k), (k0, of_k0), (r, of_r), (r0, of_r0) = map(_logarithm, (kappa, kappa0, on, on0))
    values = np.array([k - k0, k, accuracy[0] - accuracy0[0], r - r0])
    return values, np.stack([of_k - of_k0, of_k, accuracy[1] - accuracy0[1], of_r - of_r0])


def _logarithm(number: tuple[float, Array]) -> tuple[float, Array]:
    """ln of a number, with the influence of images on it by the delta method; NaN where it is not defined."""
    value, of_images = number
    if not 0 < value < math.inf:
        return math.nan, np.full_like(of_images, np.nan)
    return math.log(value), of_images / value


def _labels(
    verdicts: Mapping[str, KappaVerdict], sensitivity: Mapping[str, Mapping[str, KappaRegime]]
) -> dict[str, Labelled]:
    return {
        name: Labelled(verdict.regime, sensitivity[name], bands=bands(verdict) or {})
        for name, verdict in verdicts.items()
    }
