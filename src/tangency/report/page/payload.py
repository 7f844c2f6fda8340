"""The numbers that the page's script draws, as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tangency.measures.keys import Key
from tangency.report.page.rule import rule_payload
from tangency.report.page.spread import spread
from tangency.report.read.keys import all_keys
from tangency.report.read.noise import noise_curves, noise_sigmas
from tangency.report.read.score import score_card
from tangency.report.read.trials import bayes_level, is_reference, swept
from tangency.report.text.glossary import control_name, objective_name
from tangency.report.text.numbers import rounded
from tangency.report.text.panels import panels, story_keys
from tangency.report.text.story import Story, StoryPoint, stories
from tangency.report.text.trials import regime_label, trial_name
from tangency.study.summary.entries import CurveEntry, StudySummary, TrialEntry

if TYPE_CHECKING:
    import polars

Row = list[float | str | None] | None


def trial_payload(trial: TrialEntry) -> dict[str, float | str | None]:
    """What the script needs of a trial besides its measures."""
    return {
        "id": trial.id,
        "objective": trial.objective,
        "strength": trial.strength,
        "seed": trial.seed,
        "outcome": trial.outcome,
        "regime": trial.regime,
        "label": regime_label(trial),
        "name": trial_name(trial),
    }


def measure_table(trials: Sequence[TrialEntry]) -> dict[str, list[Row]]:
    """{key: [[mean, low, high, n, degenerate, chance] or null for each trial]}."""
    table: dict[str, list[Row]] = {}
    for key in all_keys(trials):
        entries = [trial.measures.get(str(key)) for trial in trials]
        table[str(key)] = [
            None if e is None else [rounded(v) for v in (e.mean, e.low, e.high, e.n, e.degenerate, e.chance)]
            for e in entries
        ]
    return table


def cell_table(summary: StudySummary) -> dict[str, list[Row]]:
    """{key: [[objective, strength, mean, low, high] of each recipe]}, where recipes have several networks."""
    several = [cell for cell in summary.cells if len(cell.seeds) > 1 and not is_reference(cell.objective)]
    table: dict[str, list[Row]] = {}
    for cell in several:
        for key, e in cell.measures.items():
            row = [cell.objective, cell.strength, *(rounded(value) for value in (e.mean, e.low, e.high))]
            table.setdefault(key, []).append(row)
    return table


def excess_table(trials: Sequence[TrialEntry]) -> dict[str, list[Row]]:
    """{key: [[mean, low, high, n, control] or null for each trial]}."""
    table: dict[str, list[Row]] = {}
    for text in dict.fromkeys(text for trial in trials for text in trial.excess):
        entries = [trial.excess.get(text) for trial in trials]
        family = Key.parse(text).family
        table[text] = [
            None
            if e is None
            else [
                *(rounded(value) for value in (e.mean, e.low, e.high, e.n)),
                control_name(e.best_control or "shuffled", family),
            ]
            for e in entries
        ]
    return table


def payload(summary: StudySummary, rows: polars.DataFrame, explorer: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the script draws.

    Args:
        summary, rows: of the run.
        explorer: what it explores image by image, `explorer.Explorer.content`.
    """
    trials, keys = summary.trials, story_keys(summary)
    return {
        "name": summary.name,
        "data": {"name": summary.data.name, "digest": summary.data.digest},
        "explorer": explorer,
        "rule": rule_payload(summary),
        "objectives": [{"id": o, "name": objective_name(o)} for o in swept(trials)],
        "trials": [trial_payload(trial) for trial in trials],
        "measures": measure_table(trials),
        "excess": excess_table(trials),
        "cells": cell_table(summary),
        "panels": {panel.id: {"title": panel.text.title} for panel in panels(trials)},
        "far": [str(key) for key in all_keys(trials) if bayes_level(trials, key)[1]],
        "fraction": {role: text for role, text in keys.items() if role.startswith("fraction")},
        "stories": {story.id: story_payload(story) for story in stories(summary)},
        "spread": spread(trials, rows),
        "noise": noise_payload(summary),
        "denoising": [
            [rounded(value) for value in (e.sigma, e.mse, e.identity)] for e in score_card(summary).denoising
        ],
    }


def story_payload(story: Story) -> dict[str, Any]:
    """The rows of one objective: curves of [strength, mean, low, high, [each network]], levels and marks."""
    return {
        "steps": [[step.strength, step.regime, step.label] for step in story.steps],
        "rows": [
            {
                "title": row.title,
                "curves": [
                    {"name": curve.name, "points": [_point(point) for point in curve.points]} for curve in row.curves
                ],
                "levels": [[rounded(level.value), level.name] for level in row.levels],
                "marks": [[mark.name, *map(rounded, (mark.at, mark.low, mark.high))] for mark in row.marks],
            }
            for row in story.rows
        ],
    }


def _point(point: StoryPoint) -> list[Any]:
    numbers = (point.strength, point.mean, point.low, point.high)
    return [*map(rounded, numbers), [rounded(value) for value in point.each]]


def noise_payload(summary: StudySummary) -> dict[str, Any]:
    """Relative noise robustness against σ, one curve per trial, and robust minus standard where it is paired."""

    def band(curve: CurveEntry) -> dict[str, list[float | None]]:
        ends = {"mean": curve.mean, "low": curve.low, "high": curve.high}
        return {name: [rounded(value) for value in values] for name, values in ends.items()}

    curves = [
        {"trial": c.index, "shade": c.shade, "ratio": band(c.ratio), "difference": c.difference and band(c.difference)}
        for c in noise_curves(summary)
    ]
    return {"sigmas": noise_sigmas(summary), "curves": curves}
