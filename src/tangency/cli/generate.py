"""`tangency generate`: what a classifier's gradients can do, in pictures and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tangency.cli.output import print_json
from tangency.errors import SpecError, unknown_name

TASK = "generate, denoise, inpaint, superres, translate, counterfactual, feature or sketch."
_WIDE = 200  # columns of a table that goes into a file, where nothing can be folded at the edge of a screen
_CLIMB = (
    "objective",
    "steps",
    "rule",
    "length",
    "radius",
    "norm",
    "average",
    "variation",
    "decay",
    "confidence",
    "frames",
)
_NAMES = {"langevin": "climb.noise"} | {name: f"climb.{name}" for name in _CLIMB}  # as the task's options call them
OBJECTIVE = "log_odds, cross_entropy, logit, margin or energy."


def generate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            "--model", help="run:RUN/trials/TRIAL, FILE.safetensors, onnx:FILE, …: as of `tangency measure --model`."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for pictures, rows.parquet, summary.json, index.html.")],
    task: Annotated[str, typer.Option("--task", help=TASK)] = "generate",
    data: Annotated[str | None, typer.Option("--data", help="Data set; that of the classifier by default.")] = None,
    judge: Annotated[str | None, typer.Option("--judge", help="A classifier of another architecture and seed.")] = None,
    score: Annotated[str | None, typer.Option("--score", help="A score to compare with: edm-fashion-mnist, …")] = None,
    count: Annotated[int, typer.Option("--count", help="Images; 1000 and more give a KID.")] = 64,
    target: Annotated[
        str | None, typer.Option("--target", help="Class, by number or name (channel of a unit).")
    ] = None,
    objective: Annotated[str, typer.Option("--objective", help=OBJECTIVE)] = "log_odds",
    steps: Annotated[int, typer.Option("--steps", help="Gradient steps at most.")] = 60,
    rule: Annotated[str, typer.Option("--rule", help="normalised, gradient or adam.")] = "normalised",
    length: Annotated[float | None, typer.Option("--length", help="Of a step; 2.5·radius/steps by default.")] = None,
    radius: Annotated[float | None, typer.Option("--radius", help="Budget about the start, pixels in [0, 1].")] = None,
    norm: Annotated[str, typer.Option("--norm", help="Of the budget: l2 or linf.")] = "l2",
    langevin: Annotated[float, typer.Option("--langevin", help="Noise added at each step.")] = 0.0,
    average: Annotated[float, typer.Option("--average", help="Moving average of iterates, in [0, 1).")] = 0.0,
    variation: Annotated[float, typer.Option("--variation", help="Weight of total variation; off by default.")] = 0.0,
    decay: Annotated[bool, typer.Option("--decay", help="Let steps shrink to nothing.")] = False,
    confidence: Annotated[float | None, typer.Option("--confidence", help="Stop an image at this p(y|x).")] = None,
    start: Annotated[str, typer.Option("--start", help="Of generate and feature: noise or class.")] = "noise",
    sigma: Annotated[float, typer.Option("--sigma", help="Noise that denoise removes, pixels in [0, 1].")] = 0.25,
    blind: Annotated[bool, typer.Option("--blind", help="Denoise without being told σ.")] = False,
    method: Annotated[str, typer.Option("--method", help="Of denoise: budget, map or tweedie.")] = "budget",
    label: Annotated[str, typer.Option("--label", help="Restorations raise: energy, predicted, oracle.")] = "energy",
    mask: Annotated[str, typer.Option("--mask", help="Of inpaint: rectangle, random or half.")] = "rectangle",
    share: Annotated[float, typer.Option("--share", help="Of the pixels that the mask hides.")] = 0.25,
    factor: Annotated[int, typer.Option("--factor", help="Of superres: a divisor of both sides, 2 or more.")] = 2,
    unit: Annotated[str, typer.Option("--unit", help="Of feature: a module's name, e.g. module.features.3.")] = "",
    margin: Annotated[float, typer.Option("--margin", help="Logits by which a counterfactual's class leads.")] = 0.0,
    drawn: Annotated[bool, typer.Option("--drawn", help="The data of task sketch are sketches already.")] = False,
    guidance: Annotated[float, typer.Option("--guidance", help="Weight of the score's guidance.")] = 1.0,
    references: Annotated[str, typer.Option("--references", help="Of bayes, mixture, score, with commas; or none.")] = (
        "bayes,mixture,score"
    ),
    frames: Annotated[int, typer.Option("--frames", help="Of the animation; 0 for none.")] = 16,
    animation: Annotated[str, typer.Option("--animation", help="gif or apng.")] = "gif",
    batch: Annotated[int, typer.Option("--batch", help="Images at once; changes memory, not results.")] = 256,
    seed: Annotated[int, typer.Option("--seed", help="Of noise, masks and starts.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Let models that bring code run it; only for sources you trust.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")] = False,
) -> None:
    """Generate, denoise, inpaint, enlarge or change images by a classifier's gradients, and judge what comes out.

    The same is done by the Bayes rule of a mixture, by the mixture in closed form, and by a score, at an equal budget.
    An option that the task does not have is refused.
    """
    from tangency.cli.progress import advancing
    from tangency.evaluate.generation.saved import generate as made_by
    from tangency.generation import Climb
    from tangency.generation.tasks.config import GenerationConfig, refuse_foreign, refuse_moot
    from tangency.report.write import ANIMATIONS, write_generation

    if animation not in ANIMATIONS:
        raise SpecError(unknown_name("animation", animation, ANIMATIONS))
    given = _given(context)
    named = tuple(part.strip() for part in references.split(",") if part.strip() not in ("", "none"))
    with _as_typed():
        refuse_foreign(task, given)
        climb = Climb(
            objective, steps, rule, length, radius, norm, langevin, average, variation, decay, confidence, frames=frames
        )
        config = GenerationConfig(
            task=task, count=count, climb=climb, sigma=sigma, blind=blind, method=method, label=label, mask=mask,
            share=share, factor=factor, target=target, start=start, unit=unit, margin=margin, drawn=drawn,
            guidance=guidance, references=named, seed=seed, batch=batch,
        )  # fmt: skip
        refuse_moot(config, given)
        if "references" in given and "score" in named and score is None:
            raise SpecError("references: got score, but there is none; give one with --score.")
    with advancing(task, quiet=as_json) as advance:
        made = made_by(
            model,
            data,
            config,
            judge=judge,
            score=score,
            out=out,
            device=device,
            trust_code=trust_code,
            on_progress=advance,
        )
    paths = write_generation(made.summary, made.arrays(), out, animation)
    if as_json:
        print_json(made.summary | {"files": {name: str(path) for name, path in paths.items()}})
    else:
        _show(made.summary, paths)


def _given(context: typer.Context) -> list[str]:
    """The options that stand on the command line, as a task calls them, also where their values are the default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [_NAMES.get(name, name) for name, source in sources.items() if source and source.name == "COMMANDLINE"]


@contextmanager
def _as_typed() -> Iterator[None]:
    """Errors call an option of the climb as it stands on the command line."""
    try:
        yield
    except SpecError as error:
        option, _, rest = str(error).partition(":")
        typed = next((name for name, known in _NAMES.items() if known == option), None)
        if typed is None:
            raise
        raise SpecError(f"--{typed}:{rest}") from None


def _show(summary: dict[str, Any], paths: dict[str, Path]) -> None:
    """A table of every measure by source."""
    from rich.console import Console
    from rich.table import Column, Table

    from tangency.evaluate.generation.qualities import FRECHET
    from tangency.report.text.generation import accuracy_words
    from tangency.study.summary.entries import MeasureEntry

    sources = summary["sources"]
    table = Table(
        Column("measure", no_wrap=True),
        *sources,
        title=f"{summary['task']}, {summary['count']} images of {summary['data']}",
    )
    measures = dict.fromkeys(name for source in sources.values() for name in source["measures"])
    for name in measures:
        cells = [_cell(source["measures"].get(name)) for source in sources.values()]
        about = summary["about"][name]
        table.add_row(f"{name}{' ' + about['unit'] if about['unit'] else ''}", *cells)
    for name in ("kid", *FRECHET, "recall"):
        if any(name in source.get("set", {}) for source in sources.values()):
            table.add_row(
                name, *(f"{s['set'][name]:.3g}" if name in s.get("set", {}) else "–" for s in sources.values())
            )
    console = Console()
    (console if console.is_terminal else Console(width=_WIDE)).print(table)
    for what, reason in summary["unavailable"].items():
        typer.echo(f"no {what}: {reason}")
    if (judge := summary["judged_by"]) is not None:
        typer.echo(f"judge: {accuracy_words(MeasureEntry(**judge['accuracy']))}. {judge['warning']}".rstrip())
    counts = sources["classifier"]["counts"]
    typer.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
    for name, path in paths.items():
        typer.echo(f"{name}: {path}")


def _cell(estimate: dict[str, Any] | None) -> str:
    if estimate is None or estimate["mean"] is None:
        return "–"
    if not estimate["low"] < estimate["high"]:
        return f"{estimate['mean']:.3g}"
    return f"{estimate['mean']:.3g}\n{estimate['low']:.3g} … {estimate['high']:.3g}"
