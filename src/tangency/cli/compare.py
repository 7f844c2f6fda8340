"""`tangency compare` and `tangency report`: measured classifiers beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tangency.cli.options import Json
from tangency.cli.output import print_json

_MEASURED = "Folder of `tangency measure --out`, or run:RUN/trials/ID."


def compare(
    a: Annotated[str, typer.Argument(help=_MEASURED, metavar="RUN_A")],
    b: Annotated[str, typer.Argument(help="The other, on the same data.", metavar="RUN_B")],
    keys: Annotated[
        str | None,
        typer.Option(
            "--keys",
            metavar="KEY,KEY,…",
            help="Compare these measures only; a key stands for all keys that begin with it, and excess.KEY for a "
            "measure minus its control.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two measured classifiers image by image: A, B, A − B with its interval, effect size, p, Holm's p.

    Differences are paired over the images that both have. Data must be the same; other settings are warned of.

    Example: tangency compare run:runs/quickstart/trials/standard-0-s0 run:runs/quickstart/trials/gradient_norm-0.3-s0
    """
    from tangency.cli.show.compare import print_comparison
    from tangency.evaluate.compare import compare as compared

    chosen = tuple(key.strip() for key in keys.split(",") if key.strip()) if keys else ()
    comparison = compared(a, b, chosen)
    if as_json:
        print_json(comparison.to_json())
    else:
        print_comparison(comparison)


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Run directory of a study; or the folder of a measured model (`tangency measure --out`); or several, "
            "a folder that holds several, or run:RUN/trials/ID, which become a leaderboard.",
            metavar="RUN",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder of the page; by default the one given, report/ in that of one model, or runs/leaderboard.",
        ),
    ] = None,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures", help="Of a study, figures for a paper too, as PDF, SVG and PNG, into RUN/report/figures."
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Run directory of a second study, which the page compares with.", metavar="RUN"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a study anew, or one HTML page of a measured model or a leaderboard of several.

    Of a study that is not finished the page says what there is. Models measured on different data get different tables;
    the rows of all models are written beside the page.
    """
    from tangency.errors import RunError
    from tangency.evaluate.folders import is_study
    from tangency.report import write_leaderboard, write_report

    if len(runs) == 1 and (is_study(Path(runs[0])) or (not runs[0].startswith("run:") and not Path(runs[0]).is_dir())):
        if out is not None:
            raise RunError("--out: the report of a study lies in the run itself; leave it out.")
        page = write_report(Path(runs[0]), against, figures=figures)
    elif against is not None:
        raise RunError("--against: a leaderboard has all its models on one page; give it with one run of a study.")
    else:
        if figures:
            raise RunError("--figures: are figures of one study; give its run directory alone.")
        page = write_leaderboard(runs, out)
    drawn = page.parent / "figures" / "README.md"
    if as_json:
        print_json({"report": str(page)} | ({"figures": str(drawn.parent)} if figures and drawn.exists() else {}))
    else:
        typer.echo(f"report: {page}")
        if figures:
            typer.echo(f"figures: {drawn.parent}, see {drawn.name} there" if drawn.exists() else "figures: none yet")
