"""Means of trials, the level of the Bayes rule, and the denoising errors of the score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tangency.measures.keys import Key
from tangency.report.read.trials import BAYES, trained

FAR = math.log(1000)  # nats of κ under the lowest network: beyond this gap the value is printed instead of drawn


def bayes_level(trials: Sequence[Mapping[str, Any]], key: Key) -> tuple[float | None, bool]:
    """Mean of the Bayes rule, and whether drawing it to scale would flatten the curves, as a κ far below all others."""
    level = next(iter(means([t for t in trials if t["objective"] == BAYES], str(key))), None)
    if level is None or key.family not in ("kappa", "log_kappa"):
        return level, False

    def nats(value: float) -> float:
        return value if key.family == "log_kappa" else math.log(value) if value > 0 else -math.inf

    return level, nats(level) < min(map(nats, means(trained(trials), str(key))), default=math.inf) - FAR


def means(trials: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    """The defined means of a measure."""
    values = (trial["measures"].get(key, {}).get("mean") for trial in trials)
    return [mean for mean in values if mean is not None and math.isfinite(mean)]


def denoising(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The denoising errors of the score, by rising σ."""
    return sorted(summary["score"].get("denoising") or [], key=lambda d: d["sigma"])
