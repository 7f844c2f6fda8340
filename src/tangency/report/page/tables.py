"""Tables of a study's page: tiles under the verdict, trials at a glance, stories, regimes, and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tangency.evaluate.entries import ControlEntry, ExcessEntry, MeasureEntry
from tangency.evaluate.verdicts.entries import WorstControl
from tangency.measures.keys import FRACTION, KAPPA
from tangency.report.read.keys import RISK, all_keys
from tangency.report.read.trials import REFERENCES, STANDARD, column, mean_of, swept
from tangency.report.text.glossary import TARGETS, control_name, objective_name
from tangency.report.text.measures import heading
from tangency.report.text.numbers import capital, estimate
from tangency.report.text.panels import story_keys
from tangency.report.text.trials import curve_text, strength_label
from tangency.report.text.verdict import interval_of
from tangency.statistics import CrossedEstimate
from tangency.study.summary.entries import StudySummary, TrialEntry

if TYPE_CHECKING:
    from tangency.report.read.models import ModelNumbers

GLANCE = ("accuracy", "fraction", "on", "off", "alignment")  # roles of the story figure, as columns at a glance
STORY = ("accuracy", "on", "off", "fraction", "alignment")  # likewise, in the order of the figure's rows


Tile = tuple[str, str, str, str]  # label, number, interval in words, note


def tiles(summary: StudySummary) -> list[Tile]:
    """The few numbers under the verdict."""
    headline = summary.headline
    if headline is None:
        return []

    def tile(label: str, e: WorstControl | CrossedEstimate, note: str) -> Tile:
        entry = interval_of(e)
        bracket = estimate(entry).partition(" ")[2]
        interval = f"95 % interval {bracket} over {headline.unit}" if bracket else "no interval"
        return label, estimate(entry, signed=True).partition(" ")[0], interval, note

    direction, out = f"under the {TARGETS[headline.direction][0]}", list[Tile]()
    for claim in headline.claims[:1]:
        if claim.worst:
            out.append(
                tile("log F²/control", claim.worst, f"{claim.name}, against {control_name(claim.worst.control)}")
            )
        if claim.change:
            out.append(tile("Change of that from standard", claim.change, "the worst of the estimators"))
    out.append(tile("Alignment minus shuffled", headline.alignment, direction))
    if headline.over_filter:
        out.append(tile("Above the best fixed filter", headline.over_filter, direction))
    return out


@dataclass(frozen=True)
class ColumnHead:
    """A column of a table of trials or models: the key of its estimate, and how it is shown.

    Args:
        title: of the column.
        key: of the measure.
        kind: "measures" or "excess" of the entry, or "risk" for its error above the Bayes rule.
        signed: whether a plus sign is printed.
    """

    title: str
    key: str
    kind: str = "measures"
    signed: bool = False

    @property
    def source(self) -> str:
        """The key, for the tooltip of the heading."""
        return f"{self.key}, excess" if self.kind == "excess" else self.key

    def of(self, numbers: TrialEntry | ModelNumbers) -> MeasureEntry | ExcessEntry | ControlEntry | None:
        """The estimate of a trial or model, or None."""
        return (numbers.excess if self.kind == "excess" else numbers.measures).get(self.key)


def glance(summary: StudySummary) -> list[ColumnHead]:
    """Columns of the table of all trials at a glance, which works without a script: a handful of measures."""
    keys, trials = story_keys(summary), summary.trials
    heads = [ColumnHead(heading(keys[role]), keys[role]) for role in GLANCE if role in keys]
    heads.insert(2, ColumnHead("κ (pooled)", KAPPA))
    if any(trial.excess_risk for trial in trials):
        heads.insert(1, ColumnHead("Error above the Bayes rule", RISK, "risk", signed=True))
    signals = [str(key) for key in all_keys(trials) if key.family == "signal_fraction" and not key.control]
    heads += [ColumnHead(heading(signal), signal) for signal in signals[:1]]
    alignment = keys.get("alignment", "")
    minus = f"{heading(alignment) if alignment else 'Alignment'}, minus shuffled"
    return [
        *heads,
        ColumnHead("F² minus best control", FRACTION, "excess", True),
        ColumnHead(minus, alignment, "excess", True),
    ]


@dataclass(frozen=True)
class StoryText:
    """One objective of the first figure: its text for screen readers, and its failed trials."""

    id: str
    name: str
    text: str
    fallen: list[str]


def stories(summary: StudySummary) -> list[StoryText]:
    """The first figure in words, one text per objective."""
    keys = story_keys(summary)
    out = []
    for objective in swept(summary.trials):
        own = sorted(column(summary.trials, objective), key=lambda t: (t.strength, t.seed))
        text = [
            curve_text(capital(heading(keys[role])), [(t.strength, mean_of(t, keys[role])) for t in own])
            for role in STORY
            if role in keys
        ]
        fallen = [f"{t.outcome} at {strength_label(t.strength)}" for t in own if t.outcome != "ok"]
        name = capital(objective_name(objective))
        out.append(StoryText(objective, name, " ".join(text), list(dict.fromkeys(fallen))))
    return out


@dataclass(frozen=True)
class RegimeRow:
    """A trial against the standard trial of its seed: the ratios that are compared with the thresholds.

    `sensitivity` holds its regime at each other margin of accuracy.
    """

    trial: TrialEntry
    kappa: float | None
    kappa_ratio: float | None
    accuracy_change: float | None
    on_ratio: float | None
    sensitivity: list[str | None]


def regime_rows(summary: StudySummary) -> list[RegimeRow]:
    """A row for each trained trial but the standard ones."""
    baselines = {trial.seed: trial for trial in summary.trials if trial.objective == STANDARD}
    on = story_keys(summary).get("on", "")
    out = []
    for trial in summary.trials:
        if trial.objective in (STANDARD, *REFERENCES):
            continue
        baseline = baselines.get(trial.seed)
        now, before = ([mean_of(t, k) if t else None for k in (KAPPA, "accuracy", on)] for t in (trial, baseline))
        out.append(
            RegimeRow(
                trial=trial,
                kappa=now[0],
                kappa_ratio=ratio(now[0], before[0]),
                accuracy_change=None if now[1] is None or before[1] is None else now[1] - before[1],
                on_ratio=ratio(now[2], before[2]),
                sensitivity=[trial.regime_sensitivity.get(margin) for margin in margins(summary)],
            )
        )
    return out


def margins(summary: StudySummary) -> list[str]:
    """The accuracy margins tried besides the chosen one."""
    tried = {margin for trial in summary.trials for margin in trial.regime_sensitivity}
    rule = summary.regimes.thresholds or summary.regimes.kappa
    chosen = rule.accuracy_margin if rule else None
    return sorted((margin for margin in tried if float(margin) != chosen), key=float)


def ratio(now: float | None, before: float | None) -> float | None:
    """now / before, where both are there."""
    return now / before if now is not None and before else None


def provenance(summary: StudySummary) -> list[tuple[str, str]]:
    """Versions, hashes, seeds and times as pairs of words; hashes of trials have a table of their own."""
    data = summary.data
    out = [
        ("Data", f"{data.name}, {data.train} training and {data.measured} measured images"),
        ("Licence of the data", data.licence),
        ("Hash of the data", data.digest),
        ("Hash of the spec", summary.spec_hash),
    ]
    for name, value in summary.provenance.items():
        title = capital(name.replace("_", " "))
        if isinstance(value, Mapping):
            out += [(f"{title}: {key}", str(item)) for key, item in value.items() if not key.startswith("trial ")]
        else:
            out.append((title, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return out
