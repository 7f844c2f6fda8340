"""The summary of a run: checked and read, with names of their own for the variants of an objective."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tangency.errors import RunError, quoted
from tangency.report.read.trials import STANDARD, is_reference
from tangency.statistics import CrossedEstimate
from tangency.study.summary.entries import SUMMARY_SCHEMA, StudySummary, TrialEntry
from tangency.study.trials import FORMER

_CROSSED = CrossedEstimate.__dataclass_fields__.keys()
WAY_OUT = "Run the study again into the same directory: it skips what is finished and rewrites this file."


@functools.cache
def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def from_json(kind: type, text: str, path: Path) -> Any:
    """The dataclass that JSON text of a file holds.

    Raises:
        RunError: a field is missing, or holds another type than that of the dataclass.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ", ".join(map(str, first["loc"]))
        problem = f"lacks {place}" if first["type"] == "missing" else f"{place}: {first['msg']}, as in an altered file"
        raise RunError(f"report: '{path}' {problem}. {WAY_OUT}") from error


def read_summary(path: Path) -> StudySummary:
    """The summary, if it is JSON of the schema that this report knows."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"report: '{path}' is not valid JSON ({quoted(error)}), expected a run's summary. {WAY_OUT}"
        ) from error
    if not isinstance(raw, dict):
        raise RunError(f"report: '{path}' holds a {type(raw).__name__}, expected an object. {WAY_OUT}")
    if raw.get("schema") != SUMMARY_SCHEMA:
        raise RunError(
            f"report: '{path}' has schema {raw.get('schema')!r}, expected {SUMMARY_SCHEMA}: {FORMER} {WAY_OUT} "
            "Or write the report with the version of tangency that made the run."
        )
    trials = raw.get("trials")
    if isinstance(trials, list):
        raw["trials"] = [_filled(trial) if isinstance(trial, dict) else trial for trial in trials]
    summary: StudySummary = from_json(StudySummary, json.dumps(_undefined(_filled(raw))), path)
    if not summary.trials:
        raise RunError(f"report: '{path}' holds no trial, expected at least one. {WAY_OUT}")
    return _named(dataclasses.replace(summary, trials=tell_variants_apart(summary.trials)))


def _filled(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without what is null or empty, as it may be in summaries of earlier versions."""
    return {name: value for name, value in entry.items() if value is not None and value != {}}


def _undefined(value: Any) -> Any:
    """JSON with null as NaN in intervals of recipes, whose numbers are floats."""
    if isinstance(value, list):
        return [_undefined(item) for item in value]
    if not isinstance(value, dict):
        return value
    crossed = value.keys() == _CROSSED
    return {name: float("nan") if item is None and crossed else _undefined(item) for name, item in value.items()}


def _named(summary: StudySummary) -> StudySummary:
    """The summary with cells and curves named as their trials are."""
    objectives = {trial.id.removesuffix(f"-s{trial.seed}"): trial.objective for trial in summary.trials}
    cells = [dataclasses.replace(cell, objective=objectives.get(cell.id, cell.objective)) for cell in summary.cells]
    curves = [
        dataclasses.replace(curve, objective=objectives.get(curve.cells[-1], curve.objective))
        for curve in summary.curves
    ]
    return dataclasses.replace(summary, cells=cells, curves=curves)


def tell_variants_apart(trials: Sequence[TrialEntry]) -> list[TrialEntry]:
    """The trials with objectives of which a study has several variants renamed, so that each is a curve of its own.

    Legacy behaviour is always renamed, as what it shows is not what the plain name means.
    """
    variants = [variant(trial) for trial in trials]
    by_objective: dict[str, set[str]] = {}
    for trial, own in zip(trials, variants, strict=True):
        by_objective.setdefault(trial.objective, set()).add(own)
    return [
        dataclasses.replace(trial, objective=trial.objective + own)
        if not is_reference(trial.objective)
        and (
            is_control(own)
            if trial.objective == STANDARD
            else len(by_objective[trial.objective]) > 1 or own.startswith("-pags")
        )
        else trial
        for trial, own in zip(trials, variants, strict=True)
    ]


def is_control(variant: str) -> bool:
    """Whether a variant ends in the tag of what its networks change in the recipe of the study."""
    return re.search(r"-c[0-9a-f]{4}$", variant) is not None


def variant(trial: TrialEntry) -> str:
    """The part of an id that is neither objective, strength nor seed: "-pags", a hash of the options, or nothing."""
    head = f"{trial.objective}-{trial.strength:g}"
    return trial.id.removesuffix(f"-s{trial.seed}").removeprefix(head) if trial.id.startswith(head) else ""
