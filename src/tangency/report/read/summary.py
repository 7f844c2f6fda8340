"""The summary of a run: its schema and numbers are checked, and variants of an objective get names of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tangency.errors import RunError, quoted
from tangency.report.read.trials import REFERENCES, STANDARD

SCHEMA = 1
_NUMBERS = ("mean", "low", "high", "n", "degenerate", "chance")
REQUIRED = ("name", "spec_hash", "data", "score", "trials", "regimes", "provenance")
WAY_OUT = "Run the study again into the same directory: it skips what is finished and rewrites this file."


def read_summary(path: Path) -> dict[str, Any]:
    """The summary, if it is JSON of the schema that this report knows."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(
            f"report: '{path}' is not valid JSON ({quoted(error)}), expected a run's summary. {WAY_OUT}"
        ) from error
    if not isinstance(summary, dict):
        raise RunError(f"report: '{path}' holds a {type(summary).__name__}, expected an object. {WAY_OUT}")
    if summary.get("schema") != SCHEMA:
        raise RunError(
            f"report: '{path}' has schema {summary.get('schema')!r}, expected {SCHEMA}. {WAY_OUT} "
            "Or write the report with the version of tangency that made the run."
        )
    missing = [key for key in REQUIRED if key not in summary]
    if missing:
        raise RunError(f"report: '{path}' lacks {', '.join(missing)}, expected all of {', '.join(REQUIRED)}. {WAY_OUT}")
    if not summary["trials"]:
        raise RunError(f"report: '{path}' holds no trial, expected at least one. {WAY_OUT}")
    _check_estimates(summary["trials"], path)
    tell_variants_apart(summary["trials"])
    return summary


def _check_estimates(trials: Any, path: Path) -> None:
    """Raise where an estimate of a trial holds anything but numbers, which happens in an altered file."""
    for trial in trials:
        for kind in ("measures", "excess"):
            estimates = trial.get(kind, {}) if isinstance(trial, dict) else None
            if not isinstance(estimates, dict):
                raise RunError(f"report: '{path}' has a trial without {kind} by name, as an altered file. {WAY_OUT}")
            for name, entry in estimates.items():
                numbers = [entry.get(key) for key in _NUMBERS] if isinstance(entry, dict) else [entry]
                if entry is not None and not all(value is None or isinstance(value, int | float) for value in numbers):
                    raise RunError(f"report: '{path}', {kind} '{name}': not of numbers, as an altered file. {WAY_OUT}")


def tell_variants_apart(trials: list[dict[str, Any]]) -> None:
    """Rename objectives that a study has in several variants, so that each variant is a curve of its own.

    Legacy behaviour is always renamed, as what it shows is not what the plain name means.
    """
    variants = [variant(trial) for trial in trials]
    by_objective: dict[str, set[str]] = {}
    for trial, own in zip(trials, variants, strict=True):
        by_objective.setdefault(trial["objective"], set()).add(own)
    for trial, own in zip(trials, variants, strict=True):
        alone = len(by_objective[trial["objective"]]) == 1 and not own.startswith("-pags")
        if own and not alone and trial["objective"] not in (STANDARD, *REFERENCES):
            trial["objective"] += own


def variant(trial: Mapping[str, Any]) -> str:
    """The part of an id that is neither objective, strength nor seed: "-pags", a hash of the options, or nothing."""
    name, head = str(trial["id"]), f"{trial['objective']}-{trial['strength']:g}"
    return name.removesuffix(f"-s{trial['seed']}").removeprefix(head) if name.startswith(head) else ""
