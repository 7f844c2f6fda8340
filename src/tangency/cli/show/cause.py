"""A causal study on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tangency.cause.tables import tables
from tangency.cli.show.plan import print_costs
from tangency.cli.tables import console, table

if TYPE_CHECKING:
    from tangency.cause.entries import CauseResult
    from tangency.cause.plan import StagePlan
    from tangency.cause.spec import CauseSpec


def print_cause(result: CauseResult) -> None:
    """Tables, then findings."""
    for title, heads, rows in tables(result):
        console().print(table(heads, rows, title=title))
        typer.echo("")
    for line in result.findings:
        typer.echo(line)


def print_cause_plan(spec: CauseSpec, plans: list[StagePlan]) -> None:
    """Arms, and what each stage trains and takes."""
    names = ", ".join(arm.name for arm in spec.arms)
    typer.echo(f"arms: {names}; matched to {spec.base} at strength {spec.base_strength:g}")
    for plan in plans:
        typer.echo(f"\n{plan.stage}: {len(plan.trials)} trials")
        for want in plan.forecast.missing:
            typer.echo(f"{want.key} {want.reference}: missing: {want.missing} {want.advice}".rstrip())
        if plan.forecast.kinds:
            print_costs(plan.forecast)
    at_most = (len(spec.arms) - 2) * len(spec.calibration_seeds) * spec.refinements
    typer.echo(f"\nrefinements: at most {at_most} trials more; strengths of the matched study are known then")
