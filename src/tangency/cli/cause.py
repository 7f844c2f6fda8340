"""`tangency cause`: penalties on parts of the gradient, in own and in sham tangent spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tangency.cli.commands import App
from tangency.cli.options import Calibrate, Extend, Json, Workers
from tangency.cli.output import print_json

cause_app = App("Causal studies: does off-manifold robustness align gradients, or does any robustness?")
Spec = Annotated[
    Path,
    typer.Argument(
        help="YAML file, or one that comes with the package: linear, offset, fitted or fashion.", metavar="SPEC"
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Output folder; by default runs/cause-NAME, with the name in the spec."),
]


@cause_app.command("run")
def cause_run(
    spec: Spec, out: Out = None, workers: Workers = None, extend: Extend = False, as_json: Json = False
) -> None:
    """Calibrate the strengths of all arms, train them matched, and compare own with sham tangent spaces.

    Run again after an interruption, it continues. Each stage is a study of its own: `tangency report OUT/matched`.

    Example: tangency cause run linear --out runs/cause-linear
    """
    from tangency.cause import load_cause, run_cause
    from tangency.cli.progress import watching
    from tangency.cli.show.cause import print_cause
    from tangency.report import write_cause

    loaded = load_cause(spec)
    if workers is not None:
        loaded = loaded.model_copy(update={"study": loaded.study | {"workers": workers}})
    folder = out or Path("runs") / f"cause-{loaded.name}"
    with watching(quiet=as_json) as watch:
        result = run_cause(loaded, folder, watch, extend=extend)
    page, figure = write_cause(result, folder)
    if as_json:
        print_json(result.to_json() | {"page": str(page), "figure": str(figure)})
    else:
        print_cause(result)
        typer.echo(f"page: {page}, figure: {figure}")


@cause_app.command("plan")
def cause_plan(
    spec: Spec,
    out: Out = None,
    calibrate: Calibrate = True,
    as_json: Json = False,
) -> None:
    """Print the arms of a causal study, the trials of its stages, and what they take. Nothing is written."""
    from tangency.cause import load_cause
    from tangency.cause.plan import plan_cause
    from tangency.cli.show.cause import print_cause_plan
    from tangency.evaluate.entries import to_json

    loaded = load_cause(spec)
    plans = plan_cause(loaded, out or Path("runs") / f"cause-{loaded.name}", calibrated=calibrate)
    if as_json:
        print_json(to_json({"arms": [arm.name for arm in loaded.arms], "stages": plans}))
    else:
        print_cause_plan(loaded, plans)
