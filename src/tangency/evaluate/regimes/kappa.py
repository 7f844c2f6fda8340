"""Regimes by the former rule, `rule: kappa`, from the numbers of a classifier and of a standard-trained one."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import numpy as np
from torch import Tensor

from tangency.errors import NumericsError, listed
from tangency.evaluate.numbers import TrialNumbers, best_constant, trial_numbers
from tangency.measures import Rows
from tangency.measures.keys import KAPPA, Key
from tangency.statistics import KappaCriteria, KappaThresholds, KappaVerdict, PairedBootstrap, classify_by_kappa
from tangency.statistics.kappa_rule import KappaRegime

MARGINS = (0.02, 0.05, 0.10)
REPLICATES = 2000
REGIME_EPSILON = 2.0  # step length at which R_on is judged; the nearest measured one where it is not measured
Named = TypeVar("Named", bound=Hashable)


def kappa_regimes(
    rows: Mapping[Named, Rows], baseline: Rows, labels: Tensor, thresholds: KappaThresholds | None = None
) -> dict[Named, KappaVerdict]:
    """Name to verdict by the former rule, of one network each, with bands that hold for all at once.

    On pooled κ of the margin, accuracy, and the change R_on of the softmax along on-manifold steps (subscript 0: the
    baseline): "weak" where κ/κ₀ is not shown to be ≤ ½ and accuracy is non-inferior; "bayes_aligned" where the upper
    bound of κ/κ₀ is ≤ ½, that of κ below 1, accuracy non-inferior and R_on ≥ ½ R_on(0); "excessive" where accuracy is
    inferior or the upper bound of R_on/R_on(0) below ½; "undetermined" otherwise.

    Args:
        rows: of `measure`, on the same images with the same settings, steps (`epsilons`) among them.
        baseline: rows of a standard-trained classifier of the same architecture, data and seed.
        labels: (N,) true classes of the images.
        thresholds: ½, 1, an accuracy margin of 0.05, and ½ by default.

    Raises:
        NumericsError: rows without κ or steps, or of a classifier whose accuracy is not shown to be above that of the
            best constant answer, for which no regime is defined.
    """
    boot = PairedBootstrap(len(baseline.ids), REPLICATES)
    numbers = {name: rows_numbers(own, boot) for name, own in rows.items()}
    base = rows_numbers(baseline, boot)
    every = {**{f"'{name}'": own for name, own in numbers.items()}, "the baseline": base}
    change = _shared_change(every, base)
    constant = best_constant(labels)
    poor = [name for name, own in every.items() if not own.estimates["accuracy"].low > constant]
    if poor:
        raise NumericsError(
            f"regimes: the accuracy of {listed(poor)} is not shown to be above that of the best constant answer, "
            f"{constant:.3f}, so there is no regime; leave it out, or measure more images."
        )
    judged = {str(number): criteria(own, base, change) for number, own in enumerate(numbers.values())}
    verdicts = classify_by_kappa(judged, thresholds)
    return dict(zip(numbers, verdicts.values(), strict=True))


def _shared_change(numbers: Mapping[str, TrialNumbers], base: TrialNumbers) -> str:
    """The on-manifold change that the regime is judged at; raises where it or κ is not measured for all."""
    for name, own in numbers.items():
        change = change_key(own.draws)
        if KAPPA not in own.draws or change is None or change != change_key(base.draws):
            raise NumericsError(
                f"regimes: {name} lacks κ of the margin, or on-manifold changes at the baseline's step length; "
                "measure all with the same config, epsilons and the scalar margin among it."
            )
    return str(change_key(base.draws))


def change_key(keys: Iterable[str]) -> str | None:
    """The on-manifold change at the step length nearest to that at which regimes are judged; None for none."""
    changes = {key: k.value for key in keys if (k := Key.parse(key)).family == "change_on" and not k.tangents}
    return min(changes, key=lambda key: abs((changes[key] or 0.0) - REGIME_EPSILON), default=None)


def rows_numbers(rows: Rows, boot: PairedBootstrap) -> TrialNumbers:
    """All numbers of rows."""
    columns = {key: values.cpu().numpy().astype(np.float64) for key, values in rows.columns.items()}
    return trial_numbers(columns, boot, rows.dimension, rows.classes)


def criteria(own: TrialNumbers, baseline: TrialNumbers, change: str) -> KappaCriteria:
    """What a regime is judged by, against strength 0 of the same seed."""
    a, b = own.draws, baseline.draws
    return KappaCriteria(a[KAPPA], a["accuracy"], a[change], b[KAPPA], b["accuracy"], b[change])


def judge_regimes(
    judged: dict[str, KappaCriteria],
) -> tuple[dict[str, KappaVerdict], dict[str, dict[str, KappaRegime]]]:
    """Verdict of each trial, and its regime at each accuracy margin."""
    verdicts = classify_by_kappa(judged, KappaThresholds())
    by_margin = {margin: classify_by_kappa(judged, KappaThresholds(accuracy_margin=margin)) for margin in MARGINS}
    sensitivity = {
        name: {f"{margin:g}": regimes[name].regime for margin, regimes in by_margin.items()} for name in verdicts
    }
    return verdicts, sensitivity


def bands(verdict: KappaVerdict | None) -> dict[str, list[float | None]] | None:
    """Simultaneous bands of a verdict as they stand in summary.json."""
    if verdict is None:
        return None
    names = ("kappa_ratio", "accuracy_difference", "change_on_ratio")
    return {name: [v if math.isfinite(v) else None for v in getattr(verdict, name)] for name in names}
