"""The regime of a classifier against a standard-trained one of the same data, from the numbers of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from tangency.errors import NumericsError, listed
from tangency.evaluate.numbers import TrialNumbers, check_replicates, trial_numbers
from tangency.measures import Rows
from tangency.measures.keys import KAPPA, Key
from tangency.statistics import Criteria, PairedBootstrap, Thresholds, Verdict, classify
from tangency.statistics.regimes import Regime

MARGINS = (0.02, 0.05, 0.10)
STANDARD = "standard"
REGIME_EPSILON = 2.0  # step length at which R_on is judged; the nearest measured one where it is not measured


def regimes(
    rows: Mapping[str, Rows],
    baseline: Rows,
    labels: Tensor,
    *,
    thresholds: Thresholds | None = None,
    replicates: int = 2000,
) -> dict[str, Verdict]:
    """The regime of each classifier of a sweep against a standard-trained one, with bands that hold for all at once.

    On pooled κ of the margin, accuracy, and the change R_on of the softmax along on-manifold steps (subscript 0: the
    baseline): "weak" where κ/κ₀ is not shown to be ≤ ½ and accuracy is non-inferior; "bayes_aligned" where the upper
    bound of κ/κ₀ is ≤ ½, that of κ below 1, accuracy non-inferior and R_on ≥ ½ R_on(0); "excessive" where accuracy is
    inferior or the upper bound of R_on/R_on(0) below ½; "undetermined" otherwise.

    Args:
        rows: name to rows of `measure`, of the same images with the same settings, steps (`epsilons`) among them.
        baseline: rows of a standard-trained classifier of the same architecture, data and seed.
        labels: (N,) true classes of the images, in the order of the rows.
        thresholds: ½, 1, an accuracy margin of 0.05, and ½ by default.
        replicates: bootstrap resamples of the images, the same for all, ≥ 2.

    Returns:
        Name to `Verdict`: regime, and simultaneous 95 % bands (low, high) of κ/κ₀, of the accuracy difference, and of
        R_on/R_on(0).

    Raises:
        NumericsError: no rows, rows of other images, without κ or steps, or of a classifier whose accuracy is not shown
            to be above that of the best constant answer, for which no regime is defined.

    Source: the regimes of arXiv 2305.19101, which draws them by eye; definitions and thresholds are ours.

    Example:
        >>> import tangency
        >>> world = tangency.make_world("linear?rank=3&classes=2&shape=1x8x8")
        >>> data = tangency.load_data("world:linear?rank=3&classes=2&shape=1x8x8&train=200&test=40")
        >>> rule, config = tangency.BayesClassifier(world, 0.2), tangency.MeasureConfig(metrics=("cosine",))
        >>> rows = tangency.measure(rule, data.test.images(), data.test.labels, train_data=data.train, config=config)
        >>> regimes({"again": rows}, rows, data.test.labels, replicates=100)["again"].kappa_ratio
        (1.0, 1.0)
    """
    check_replicates(replicates)
    if not rows:
        raise NumericsError("regimes: got no rows, expected those of at least one classifier.")
    for name, own in rows.items():
        if not torch.equal(own.ids.cpu(), baseline.ids.cpu()) or own.dimension != baseline.dimension:
            raise NumericsError(f"regimes: the images of '{name}' are not those of the baseline, expected the same.")
    if labels.shape != (len(baseline.ids),):
        raise NumericsError(f"labels: got {tuple(labels.shape)} for {len(baseline.ids)} images, expected one each.")
    boot = PairedBootstrap(len(baseline.ids), replicates)
    numbers = {name: rows_numbers(own, boot) for name, own in rows.items()}
    base = rows_numbers(baseline, boot)
    change = _shared_change(numbers, base)
    constant = float(torch.bincount(labels.cpu().long()).max()) / len(labels)
    poor = [
        f"'{name}'"
        for name, own in {**numbers, "the baseline": base}.items()
        if not own.estimates["accuracy"].low > constant
    ]
    if poor:
        raise NumericsError(
            f"regimes: the accuracy of {listed(poor)} is not shown to be above that of the best constant answer, "
            f"{constant:.3f}, so there is no regime; leave it out, or measure more images."
        )
    return classify({name: criteria(own, base, change) for name, own in numbers.items()}, thresholds)


def _shared_change(numbers: Mapping[str, TrialNumbers], base: TrialNumbers) -> str:
    """The on-manifold change that the regime is judged at; raises where it or κ is not measured for all."""
    for name, own in {**numbers, "the baseline": base}.items():
        change = change_key(own.draws)
        if KAPPA not in own.draws or change is None or change != change_key(base.draws):
            raise NumericsError(
                f"regimes: '{name}' lacks κ of the margin, or on-manifold changes at the baseline's step length; "
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


def criteria(own: TrialNumbers, baseline: TrialNumbers, change: str) -> Criteria:
    """What a regime is judged by, against strength 0 of the same seed."""
    a, b = own.draws, baseline.draws
    return Criteria(a[KAPPA], a["accuracy"], a[change], b[KAPPA], b["accuracy"], b[change])


def judge_regimes(judged: dict[str, Criteria]) -> tuple[dict[str, Verdict], dict[str, dict[str, Regime]]]:
    """Verdict of each trial, and its regime at each accuracy margin."""
    verdicts = classify(judged, Thresholds())
    by_margin = {margin: classify(judged, Thresholds(accuracy_margin=margin)) for margin in MARGINS}
    sensitivity = {
        name: {f"{margin:g}": regimes[name].regime for margin, regimes in by_margin.items()} for name in verdicts
    }
    return verdicts, sensitivity


def bands(verdict: Verdict | None) -> dict[str, list[float | None]] | None:
    """Simultaneous bands of a verdict as they stand in summary.json."""
    if verdict is None:
        return None
    names = ("kappa_ratio", "accuracy_difference", "change_on_ratio")
    return {name: [v if math.isfinite(v) else None for v in getattr(verdict, name)] for name in names}
