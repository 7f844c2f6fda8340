"""The regime of a classifier against a standard-trained one of the same data, from the numbers of both."""

from __future__ import annotations

import math

from tangency.evaluate.numbers import TrialNumbers
from tangency.statistics import Criteria, Thresholds, Verdict, classify
from tangency.statistics.regimes import Regime

MARGINS = (0.02, 0.05, 0.10)
STANDARD = "standard"
KAPPA, FRACTION = "kappa.logp_y", "tangent_fraction.logp_y"
REGIME_EPSILON = 2.0  # step length at which R_on is judged; the nearest measured one where it is not measured


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
