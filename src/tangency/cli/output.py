"""What several commands end with: JSON, or a study run, reported and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer


def print_json(content: Any) -> None:
    """Strict JSON on standard output."""
    typer.echo(json.dumps(content, indent=1, default=str, allow_nan=False))


def run_and_report(
    spec: Any, out: Path, as_json: bool, show: Callable[[dict[str, Any]], None], replace: bool = False
) -> None:
    """Run a study with progress, write its report, then print its summary as JSON or by `show`."""
    from tangency.cli.show import watching
    from tangency.report import write_report
    from tangency.study import run_study

    with watching(quiet=as_json) as watch:
        summary = run_study(spec, out, watch, replace=replace)
    page = write_report(out)
    if as_json:
        print_json(summary | {"report": str(page)})
    else:
        show(summary)
        if summary["unused_networks"]:
            typer.echo(f"left out: {summary['unused_networks']} trained networks of other settings in {out / 'trials'}")
        typer.echo(f"report: {page}")
