"""Which measures share axes, which of them are shown first, and what the axes are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tangency.measures.keys import ALIGNMENT, FRACTION, TANGENT_CONTROLS, Key
from tangency.measures.registry import is_fixed, measure_of
from tangency.measures.similarity.metrics import metric_of
from tangency.report.read.keys import all_keys
from tangency.report.text.measures import MeasureText, describe, parameter_label
from tangency.study.summary.entries import StudySummary, TrialEntry
from tangency.study.summary.sweep_entries import CorrelationEntry


@dataclass(frozen=True)
class Panel:
    """A set of axes: its measure, and the keys that can be drawn in it, by rising σ or ε."""

    id: str
    text: MeasureText
    keys: list[Key]

    @property
    def chosen(self) -> int:
        """Place of the key that is shown first."""
        return _first(self.keys, self.keys[0].family)

    @property
    def options(self) -> list[tuple[str, str]]:
        """The keys to choose from, each with its σ or ε in words."""
        return [(parameter_label(key), str(key)) for key in self.keys]


def _first(keys: Sequence[Key], family: str) -> int:
    """Place of the key whose σ or ε is nearest to the one that a measure shows first."""
    measure = measure_of(family)
    wanted = measure.shown if measure else 0.0
    return min(range(len(keys)), key=lambda place: abs((keys[place].value or 0.0) - wanted))


def panels(trials: Sequence[TrialEntry]) -> list[Panel]:
    """One panel for each measure, scalar and target.

    Measures that are the same for every classifier have none; a sentence says them.
    """
    keys: dict[str, list[Key]] = {}
    for key in all_keys(trials):
        if not (key.control or key.tangents or is_fixed(key)):
            keys.setdefault(key.panel, []).append(key)
    return [Panel(name, describe(own[0]), sorted(own, key=lambda key: key.value or 0.0)) for name, own in keys.items()]


def story_keys(summary: StudySummary) -> dict[str, str]:
    """The measures of the first figure by role; roles that were not measured are left out."""
    trials, headline = summary.trials, summary.headline
    worst = headline.claims[0].worst if headline and headline.claims else None
    chosen = {panel.id: str(panel.keys[panel.chosen]) for panel in panels(trials)}
    alignment = default_alignment(trials)
    best = worst.control if worst and worst.control in TANGENT_CONTROLS else "pca"
    roles = {
        "accuracy": "accuracy",
        "on": chosen.get("change_on", ""),
        "off": chosen.get("change_off", ""),
        "fraction": FRACTION,
        "fraction_control": str(Key.parse(FRACTION).under(best)),
        "alignment": alignment,
        "alignment_control": str(Key.parse(alignment).under("shuffled")),
    }
    taken = {text for trial in trials for text in trial.measures}
    return {role: text for role, text in roles.items() if text in taken}


def default_alignment(trials: Sequence[TrialEntry]) -> str:
    """The cosine with the Bayes gradient at its largest σ; if it was not measured, the first alignment likewise."""
    keys = [key for key in all_keys(trials) if metric_of(key.family) and not key.control]
    panel = ALIGNMENT if any(key.panel == ALIGNMENT for key in keys) else keys[0].panel if keys else ""
    return str(max((key for key in keys if key.panel == panel), key=lambda key: key.value or 0.0)) if keys else ""


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
        return _first([Key.parse(item.y) for item in self.items], "alignment_cosine")

    @property
    def options(self) -> list[str]:
        """The σ to choose from, in words."""
        return [parameter_label(Key.parse(item.y)) for item in self.items]


def correlation_panels(summary: StudySummary) -> list[CorrelationPanel]:
    """The correlations, one panel for each pair of axes."""
    by_panel: dict[str, list[CorrelationEntry]] = {}
    for item in sorted(summary.correlations, key=lambda item: Key.parse(item.y).value or 0.0):
        by_panel.setdefault(Key.parse(item.y).panel, []).append(item)
    order = dict.fromkeys(Key.parse(item.y).panel for item in summary.correlations)
    return [
        CorrelationPanel(name, describe(Key.parse(by_panel[name][0].y)), by_panel[name][0].x, by_panel[name])
        for name in order
    ]
