"""Tables of a study's page: tiles under the verdict, trials at a glance, stories, regimes, and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tangency.evaluate.entries import ControlEntry, ExcessEntry, MeasureEntry
from tangency.evaluate.verdicts.entries import WorstControl
from tangency.measures.keys import FRACTION, KAPPA
from tangency.report.read.keys import RISK, all_keys
from tangency.report.read.sweep import filter_names
from tangency.report.text.glossary import control_name
from tangency.report.text.measures import heading
from tangency.report.text.numbers import capital, estimate
from tangency.report.text.panels import story_keys
from tangency.report.text.score import direction_label
from tangency.report.text.verdict import interval_of
from tangency.statistics import CrossedEstimate
from tangency.study.summary.entries import StudySummary, TrialEntry

if TYPE_CHECKING:
    from tangency.report.read.models import ModelNumbers

GLANCE = ("accuracy", "fraction", "on", "off", "alignment")  # roles of the story figure, as columns at a glance

Tile = tuple[str, str, str, str]  # label, number, interval in words, note


def tiles(summary: StudySummary) -> list[Tile]:
    """The few numbers under the verdict."""
    headline = summary.headline
    if headline is None:
        return []

    def tile(label: str, e: WorstControl | CrossedEstimate, note: str) -> Tile:
        bracket = estimate(interval_of(e)).partition(" ")[2]
        chosen = isinstance(e, CrossedEstimate) and headline.among > 1
        corrected = f", Bonferroni-corrected for {headline.among} levels of L" if chosen else ""
        interval = f"95 % interval {bracket} over {headline.unit}{corrected}" if bracket else "no interval"
        return label, estimate(interval_of(e), signed=True).partition(" ")[0], interval, note

    direction, out = f"under {direction_label(headline.direction)}", list[Tile]()
    out.append(tile("L", headline.alignment, direction))
    if headline.over_standard:
        out.append(tile("L over standard", headline.over_standard, direction))
    if headline.over_filter:
        out.append(tile("L over filter", headline.over_filter, filter_names(summary, headline.direction)))
    for claim in headline.claims[:1]:
        if claim.worst:
            note = f"{claim.name}, against {control_name(claim.worst.control)}"
            out.append(tile("log F²/best control", claim.worst, note))
        if claim.change:
            out.append(
                tile("log F²/best control − standard", claim.change, f"change from the standard network; {claim.name}")
            )
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
