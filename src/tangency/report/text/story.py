"""The story of a sweep: what its rows show against the strength, the levels in them, and where curves turn.

The script of the page and the figures draw it; readers of neither have it in words.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tangency.evaluate.verdicts.entries import WorstControl
from tangency.measures.keys import Key
from tangency.report.read.sweep import directions, estimators, filter_names, filtered, least_each, reference
from tangency.report.read.trials import BAYES, bayes_level, swept
from tangency.report.text.glossary import objective_name
from tangency.report.text.measures import parameter_label, short_label
from tangency.report.text.numbers import capital, number
from tangency.report.text.panels import story_keys
from tangency.report.text.score import direction_label
from tangency.report.text.trials import StoryStep, curve_text, steps_of, strength_label
from tangency.statistics import CrossedEstimate
from tangency.study.summary.entries import StudySummary
from tangency.study.summary.sweep_entries import (
    CellMeasureEntry,
    CrossingEntry,
    DirectionCurveEntry,
    PeakEntry,
    SweepCurveEntry,
)

KAPPA_ROWS = (  # of studies by rule: kappa, each with its curves by role and name
    ("accuracy", {"accuracy": ""}),
    ("on", {"on": "on", "off": "off"}),
    ("fraction", {"fraction": "own", "fraction_control": "control"}),
    ("alignment", {"alignment": "own", "alignment_control": "shuffled"}),
)
PAPER_ROWS = (  # of the figure after the paper's: accuracy, alignment, robustness on and off the manifold
    ("accuracy", {"accuracy": ""}),
    ("alignment", {"alignment": "own", "alignment_control": "shuffled"}),
    ("perceptual", {"perceptual": "own", "perceptual_control": "shuffled"}),
    ("on", {"on": "on", "off": "off"}),
)
_LPIPS = "alignment_lpips"


@dataclass(frozen=True)
class StoryPoint:
    """A level at one strength, with its crossed interval and that of each network; None where not defined."""

    strength: float
    mean: float
    low: float | None
    high: float | None
    each: list[float]


@dataclass(frozen=True)
class StoryCurve:
    """A curve over strengths; the name of a row's only curve is empty."""

    name: str
    points: list[StoryPoint]


@dataclass(frozen=True)
class StoryLevel:
    """A horizontal line."""

    value: float
    name: str


@dataclass(frozen=True)
class StoryMark:
    """Where a curve turns: a strength with its interval; 0 is below the smallest strength, None is not reached."""

    name: str
    at: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class StoryRow:
    """A row: its title, curves, levels and marks."""

    title: str
    curves: list[StoryCurve]
    levels: list[StoryLevel] = field(default_factory=list)
    marks: list[StoryMark] = field(default_factory=list)


@dataclass(frozen=True)
class Story:
    """The sweep of one objective; `fallen` says which strengths have no network to show, `text` all of it in words."""

    id: str
    name: str
    steps: list[StoryStep]
    rows: list[StoryRow]
    fallen: list[str]
    text: str


def stories(summary: StudySummary) -> list[Story]:
    """The story of each objective that has strengths."""
    out = []
    for objective in swept(summary.trials):
        steps = steps_of(summary, objective)
        curve = next((c for c in summary.curves if c.objective == objective and not c.withheld), None)
        rows = measured_rows(summary, steps) if summary.regimes.rule == "kappa" else _rows(summary, steps, curve)
        fallen = [f"{step.label} at {strength_label(step.strength)}" for step in steps if step.cell is None]
        name = capital(objective_name(objective))
        out.append(Story(objective, name, steps, rows, fallen, " ".join(map(_row_text, rows))))
    return out


def story_lead(summary: StudySummary) -> str:
    """What the first figure shows."""
    if summary.regimes.rule == "kappa":
        shown = (
            "Accuracy, change of the output, F² and alignment as each training objective gets stronger, and controls."
        )
        background = "The background shows the label by rule kappa"
    else:
        shown = (
            "Accuracy, L under each Bayes direction, and log F² over its best control under each estimator of the "
            "tangent space, as each training objective gets stronger. Dotted: the standard network behind the best "
            "fixed filter, which is named. Bars at the top of a row: where its curve turns, with intervals."
        )
        background = "The background shows the label of the recipe"
    bayes = any(trial.objective == BAYES for trial in summary.trials)
    rule = " The thin horizontal line is the Bayes rule, for which nothing was trained." if bayes else ""
    several = len({trial.seed for trial in summary.trials}) > 1
    bars = "networks crossed with images; small points are networks" if several else "images"
    return (
        f"{shown} Strength 0, at the left edge, is the standard network, which all objectives share.{rule} "
        f"{background}; bars are 95 % intervals over {bars}."
    )


def _rows(summary: StudySummary, steps: Sequence[StoryStep], curve: SweepCurveEntry | None) -> list[StoryRow]:
    """Accuracy, L under each direction, and log F² over its best control under each estimator."""
    verdicts = [(step.strength, step.cell.verdict) for step in steps if step.cell and step.cell.verdict]
    bayes = reference(summary, BAYES)
    accuracy = [_point(strength, v.accuracy, v.accuracy.each) for strength, v in verdicts if v.accuracy]
    best = [StoryLevel(bayes.accuracy.mean, objective_name(BAYES))] if bayes and bayes.accuracy else []
    marks = _crossings({"t₂": curve.t2_accuracy}) if curve else []
    rows = [StoryRow("Accuracy", [StoryCurve("", accuracy)], best, marks)]
    for target in directions(summary):
        own = [(strength, v.aligned[target].alignment) for strength, v in verdicts if target in v.aligned]
        levels = []
        if (behind := filtered(summary, target)) and target in behind.aligned:
            levels.append(StoryLevel(behind.aligned[target].alignment.mean, filter_names(summary, target)))
        if bayes and target in bayes.aligned:
            levels.append(StoryLevel(bayes.aligned[target].alignment.mean, objective_name(BAYES)))
        turns = _turns(curve.directions.get(target)) if curve else []
        points = [_point(strength, level, level.each) for strength, level in own]
        rows.append(StoryRow(f"L, {direction_label(target)}", [StoryCurve("", points)], levels, turns))
    for key, name in estimators(summary).items():
        under = [(strength, v.manifold[key]) for strength, v in verdicts if key in v.manifold]
        points = [_point(strength, each.worst, least_each(each)) for strength, each in under if each.worst]
        levels = [StoryLevel(0.0, "best control")]
        if bayes and key in bayes.manifold and (worst := bayes.manifold[key].worst):
            levels.append(StoryLevel(worst.mean, objective_name(BAYES)))
        rows.append(StoryRow(manifold_title(name), [StoryCurve("", points)], levels))
    return [row for row in rows if any(curve.points for curve in row.curves)]


def manifold_title(estimator: str) -> str:
    """The title of the row of an estimator of the tangent space."""
    return f"log F²/best control, {estimator}"


def _point(strength: float, e: CrossedEstimate | WorstControl, each: Sequence[float]) -> StoryPoint:
    low, high = (end if math.isfinite(end) else None for end in (e.low, e.high))
    return StoryPoint(strength, e.mean, low, high, list(each))


def _turns(direction: DirectionCurveEntry | None) -> list[StoryMark]:
    """Peak, t₁ and t₂ of L, where they are defined; a peak is marked where it is shown."""
    if direction is None:
        return []
    peak = _peak(direction.peak) if direction.peak and direction.peak.shown else []
    return peak + _crossings({"t₁": direction.t1, "t₂": direction.t2})


def _peak(peak: PeakEntry) -> list[StoryMark]:
    at = peak.peak.strength
    return [StoryMark("peak", at, at, at)]


def _crossings(crossings: Mapping[str, CrossingEntry | None]) -> list[StoryMark]:
    """Those that have an interval, which one or two networks have not, and are not wholly beyond the grid."""
    marks = []
    for name, crossing in crossings.items():
        if crossing and crossing.estimate is not None and crossing.low is not None and crossing.high is not None:
            marks.append(StoryMark(name, *map(_place, (crossing.estimate, crossing.low, crossing.high))))
    return [mark for mark in marks if mark.low is not None]


def _place(end: float | str) -> float | None:
    """A strength as a number: 0 for "< t_min", None for "not reached"."""
    return end if isinstance(end, float | int) else 0.0 if end.startswith("<") else None


def paper_stories(summary: StudySummary) -> list[Story]:
    """The story of each objective with the rows of the paper's figure, whatever the rule of the study judges."""
    keys = story_keys(summary)
    perceptual = Key.parse(keys["alignment"]).of(_LPIPS) if "alignment" in keys else None
    if perceptual and str(perceptual) != keys["alignment"]:
        keys |= {"perceptual": str(perceptual), "perceptual_control": str(perceptual.under("shuffled"))}
    pairs = ((story, measured_rows(summary, story.steps, PAPER_ROWS, keys)) for story in stories(summary))
    return [dataclasses.replace(story, rows=rows, text=" ".join(map(_row_text, rows))) for story, rows in pairs if rows]


def measured_rows(
    summary: StudySummary,
    steps: Sequence[StoryStep],
    wanted: Sequence[tuple[str, Mapping[str, str]]] = KAPPA_ROWS,
    keys: Mapping[str, str] | None = None,
) -> list[StoryRow]:
    """Rows of measures beside their controls.

    Args:
        summary: of the study.
        steps: strengths of an objective.
        wanted: role of each row, and its curves by role and name.
        keys: role to measure; those of the first figure by default. Roles without numbers are left out.
    """
    keys, rows = story_keys(summary) if keys is None else keys, []
    for role, curves in wanted:
        own = [
            StoryCurve(name, [_measured(step.strength, e) for step in steps if (e := _entry(step, keys[each]))])
            for each, name in curves.items()
            if each in keys
        ]
        if not any(curve.points for curve in own):
            continue
        level, far = bayes_level(summary.trials, Key.parse(keys[role]))
        levels = [] if level is None or far else [StoryLevel(level, objective_name(BAYES))]
        title = f"Softmax change, {parameter_label(Key.parse(keys[role]))}" if role == "on" else ""
        rows.append(StoryRow(title or short_label(Key.parse(keys[role])), own, levels))
    return rows


def _entry(step: StoryStep, key: str) -> CellMeasureEntry | None:
    entry = step.cell.measures.get(key) if step.cell else None
    return entry if entry and entry.mean is not None else None


def _measured(strength: float, entry: CellMeasureEntry) -> StoryPoint:
    each = [value for value in entry.each if value is not None]
    return StoryPoint(strength, entry.mean or 0.0, entry.low, entry.high, each)


def _row_text(row: StoryRow) -> str:
    """A row in words for screen readers: each curve, then the levels and the marks."""
    parts = []
    for curve in row.curves:
        title = f"{row.title}{f', {curve.name}' if curve.name else ''}"
        parts.append(curve_text(title, [(point.strength, point.mean) for point in curve.points]))
    parts += [f"Level of {level.name or 'the filter'}: {number(level.value)}." for level in row.levels]
    parts += [f"{capital(mark.name)} at strength {_mark_text(mark)}." for mark in row.marks]
    return " ".join(parts)


def _mark_text(mark: StoryMark) -> str:
    at, low, high = (_said(end) for end in (mark.at, mark.low, mark.high))
    return at if low == high else f"{at}, interval {low} to {high}"


def _said(end: float | None) -> str:
    return "beyond the largest" if end is None else "below the smallest" if end == 0 else number(end)
