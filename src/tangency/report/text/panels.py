"""Which measures share axes, which of them are shown first, and what the axes are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tangency.report.read.keys import ALIGNMENT, FRACTION, Key, all_keys, parse
from tangency.report.text.measures import MeasureText, describe, parameter_label, short_label
from tangency.study.summary.entries import CorrelationEntry, StudySummary, TrialEntry

PREFERRED = {  # σ or ε that is shown first, by family; the nearest measured one
    "alignment_cosine": 0.5,
    "alignment_lpips": 0.5,
    "rho": 0.05,
    "change_on": 2.0,
    "change_off": 2.0,
    "change_curved": 2.0,
    "relative_noise": 0.1,
    "noise_signal": 0.1,
    "noise_distractor": 0.1,
}


@dataclass(frozen=True)
class Panel:
    """A set of axes: its measure, and the keys that can be drawn in it, by rising σ or ε."""

    id: str
    text: MeasureText
    keys: list[Key]

    @property
    def chosen(self) -> int:
        """Place of the key that is shown first."""
        return nearest([key.value or 0.0 for key in self.keys], PREFERRED.get(self.keys[0].family, 0.0))

    @property
    def options(self) -> list[tuple[str, str]]:
        """The keys to choose from, each with its σ or ε in words."""
        return [(parameter_label(key), key.text) for key in self.keys]


def nearest(values: Sequence[float], wanted: float) -> int:
    """Place of the value that is nearest."""
    return min(range(len(values)), key=lambda place: abs(values[place] - wanted))


def panels(trials: Sequence[TrialEntry]) -> list[Panel]:
    """One panel for each measure, scalar and target.

    The share of pixels that a step puts outside [0, 1] has none: it is equal for all classifiers, and stated in a
    sentence.
    """
    keys: dict[str, list[Key]] = {}
    for key in all_keys(trials):
        if not (key.control or key.tangents or key.family.startswith(("outside", "residual"))):
            keys.setdefault(key.panel, []).append(key)
    return [Panel(name, describe(own[0]), sorted(own, key=lambda key: key.value or 0.0)) for name, own in keys.items()]


def story_keys(summary: StudySummary) -> dict[str, str]:
    """The measures of the first figure by role; roles that were not measured are left out."""
    trials, headline = summary.trials, summary.headline
    chosen = {panel.id: panel.keys[panel.chosen].text for panel in panels(trials)}
    alignment = headline.alignment if headline else default_alignment(trials)
    best = (headline.tangent_excess.best_control if headline else None) or "pca"
    roles = {
        "accuracy": "accuracy",
        "on": chosen.get("change_on", ""),
        "off": chosen.get("change_off", ""),
        "fraction": FRACTION,
        "fraction_control": f"{FRACTION}.{best}",
        "alignment": alignment,
        "alignment_control": f"{alignment}.shuffled",
    }
    taken = {text for trial in trials for text in trial.measures}
    return {role: text for role, text in roles.items() if text in taken}


def default_alignment(trials: Sequence[TrialEntry]) -> str:
    """The cosine with the Bayes gradient at its largest σ; if it was not measured, the first alignment likewise."""
    keys = [key for key in all_keys(trials) if key.family.startswith("alignment") and not key.control]
    panel = ALIGNMENT if any(key.panel == ALIGNMENT for key in keys) else keys[0].panel if keys else ""
    return max((key for key in keys if key.panel == panel), key=lambda key: key.value or 0.0).text if keys else ""


def story_labels(keys: Mapping[str, str]) -> dict[str, str]:
    """Labels of the rows of the first figure, by their first role, with the chosen ε, target and σ."""
    labels = {role: short_label(parse(keys[role])) for role in ("accuracy", "fraction", "alignment") if role in keys}
    if "on" in keys:
        labels["on"] = f"Softmax change, {parameter_label(parse(keys['on']))}"
    return labels


@dataclass(frozen=True)
class CorrelationPanel:
    """Correlations of log κ with one alignment, by rising σ."""

    id: str
    text: MeasureText
    x: str
    items: list[CorrelationEntry]

    @property
    def chosen(self) -> int:
        """Place of the σ that is shown first."""
        return nearest([parse(item.y).value or 0.0 for item in self.items], PREFERRED["alignment_cosine"])

    @property
    def options(self) -> list[str]:
        """The σ to choose from, in words."""
        return [parameter_label(parse(item.y)) for item in self.items]


def correlation_panels(summary: StudySummary) -> list[CorrelationPanel]:
    """The correlations, one panel for each pair of axes."""
    by_panel: dict[str, list[CorrelationEntry]] = {}
    for item in sorted(summary.correlations, key=lambda item: parse(item.y).value or 0.0):
        by_panel.setdefault(parse(item.y).panel, []).append(item)
    order = dict.fromkeys(parse(item.y).panel for item in summary.correlations)
    return [
        CorrelationPanel(name, describe(parse(by_panel[name][0].y)), by_panel[name][0].x, by_panel[name])
        for name in order
    ]
