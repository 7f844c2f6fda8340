"""A causal study on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tangency.cause.tables import tables
from tangency.cli.show.plan import print_costs
from tangency.cli.tables import console, say, table

if TYPE_CHECKING:
    from tangency.cause.entries import CauseResult
    from tangency.cause.plan import StagePlan
    from tangency.cause.spec import CauseSpec


def print_cause(result: CauseResult) -> None:
    """Findings, then tables."""
    screen = console()
    for line in result.findings:
        say(screen, line)
    for title, heads, rows in tables(result):
        screen.print(table(heads, rows, title=f"\n{title}"))


def print_cause_plan(spec: CauseSpec, plans: list[StagePlan]) -> None:
    """Arms, and what each stage trains and takes."""
    screen = console()
    names = ", ".join(arm.name for arm in spec.arms)
    say(screen, f"arms: {names}; matched to {spec.base} at strength {spec.base_strength:g}")
    for plan in plans:
        say(screen, f"\n{plan.stage}: {len(plan.trials)} trials")
        for want in plan.forecast.missing:
            say(screen, f"{want.key} {want.reference}: missing: {want.missing} {want.advice}".rstrip())
        if plan.forecast.kinds:
            print_costs(plan.forecast)
    at_most = (len(spec.arms) - 2) * len(spec.calibration_seeds) * spec.refinements
    say(screen, f"\nrefinements: at most {at_most} trials more; strengths of the matched study are known then")
