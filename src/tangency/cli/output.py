"""What several commands end with: JSON, a trained network, or a study run, reported and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from tangency.study.spec import StudySpec
    from tangency.training.result import TrainingResult


def print_json(content: object) -> None:
    """Strict JSON on standard output."""
    typer.echo(json.dumps(content, indent=1, default=str, allow_nan=False))


def print_training(kind: str, path: Path, result: TrainingResult, data: str, as_json: bool) -> None:
    """How a training of a score ("score") or of tangent spaces ("tangents") ended, and what to do next."""
    seconds, row = round(result.seconds, 1), result.history[-1] if result.history else {}
    if as_json:
        name = "autoencoder" if kind == "tangents" else kind
        print_json({name: str(path), "outcome": result.outcome, "seconds": seconds, "history": result.history})
        return
    error = row.get("validation_error")
    about = "" if error is None else f", mean squared error {error:.3g} on held-out images"
    typer.echo(f"{result.outcome} after {seconds} s{about}: {path}")
    typer.echo(f"Validate it before you rely on it: tangency {kind} eval {path} --data '{data}'")


def run_and_report(
    spec: StudySpec,
    out: Path,
    as_json: bool,
    show: Callable[[dict[str, Any]], None],
    *,
    extend: bool = False,
    replace: bool = False,
) -> None:
    """Run a study with progress, write its report, then print its summary as JSON or by `show`."""
    from tangency.cli.engines import costs_sentence
    from tangency.cli.progress import watching
    from tangency.report import write_report
    from tangency.study import run_study

    with watching(quiet=as_json) as watch:
        summary = run_study(spec, out, watch, extend=extend, replace=replace)
    page = write_report(out)
    if as_json:
        print_json(summary | {"report": str(page)})
    else:
        show(summary)
        if summary["unused_networks"]:
            typer.echo(f"left out: {summary['unused_networks']} trained networks of other settings in {out / 'trials'}")
        if halved := summary["provenance"]["halved"]:
            names = ", ".join(f"{name} ({count} images)" for name, count in halved.items())
            typer.echo(f"measured with half the batch, since memory ran out: {names}")
        typer.echo(costs_sentence(summary["costs"]["total"]))
        typer.echo(f"report: {page}")
