"""Each trial against the standard trial of its seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.measures.keys import KAPPA
from tangency.report.read.trials import REFERENCES, STANDARD
from tangency.report.text.panels import story_keys
from tangency.report.text.trials import regime_label


def regime_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each trial against the standard trial of its seed: the ratios that are compared with the thresholds."""
    trials = summary["trials"]
    baselines = {t["seed"]: t for t in trials if t["objective"] == STANDARD}
    keys = story_keys(summary)
    out = []
    for trial in trials:
        if trial["objective"] in (STANDARD, *REFERENCES):
            continue
        baseline = baselines.get(trial["seed"])
        kappa, accuracy, on = (paired_means(trial, baseline, key) for key in (KAPPA, "accuracy", keys.get("on", "")))
        out.append(
            {
                "trial": trial,
                "label": regime_label(trial),
                "kappa": kappa[0],
                "kappa_ratio": ratio(*kappa),
                "accuracy_change": None if None in accuracy else accuracy[0] - accuracy[1],
                "on_ratio": ratio(*on),
                "bands": trial.get("regime_bands"),
                "sensitivity": [(trial["regime_sensitivity"] or {}).get(margin) for margin in margins(summary)],
            }
        )
    return out


def margins(summary: Mapping[str, Any]) -> list[str]:
    """The accuracy margins tried besides the chosen one."""
    tried = {margin for trial in summary["trials"] for margin in trial["regime_sensitivity"] or {}}
    chosen = summary["regimes"]["thresholds"]["accuracy_margin"]
    return sorted((margin for margin in tried if float(margin) != chosen), key=float)


def paired_means(trial: Mapping[str, Any], baseline: Mapping[str, Any] | None, key: str) -> tuple[Any, Any]:
    """The measure's mean for a trial and for its baseline."""
    now = trial["measures"].get(key, {}).get("mean")
    return now, baseline["measures"].get(key, {}).get("mean") if baseline else None


def ratio(now: float | None, before: float | None) -> float | None:
    """now / before, where both are there."""
    return now / before if now is not None and before else None
