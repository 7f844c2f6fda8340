"""`tangency generate`: what a classifier's gradients can do, in pictures and numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from tangency.cli.commands import as_typed
from tangency.cli.options import Device, Json, TrustCode
from tangency.cli.output import print_json
from tangency.errors import SpecError, unknown_name
from tangency.generation.options import Climb, TaskOptions, declarations

if TYPE_CHECKING:
    from tangency.evaluate.generation.run import GenerationSummary

TASK = "generate, denoise, inpaint, superres, translate, counterfactual, feature or sketch."
_RECORDS = {"": TaskOptions, "climb.": Climb}  # prefix of their options, as the tasks call them
_FLAGS = {  # flags that the options declare, each with its option
    declaration.flag or name: f"{prefix}{name}"
    for prefix, record in _RECORDS.items()
    for name, declaration in declarations(record).items()
    if declaration.help
}
_NAMES = _FLAGS | {"frames": "climb.frames"}
_Command = Callable[..., None]


def _with_declared_flags(command: _Command) -> _Command:
    """The command with a flag for each declared option of the tasks, in place of its `**declared`."""
    signature = inspect.signature(command, eval_str=True)
    parameters = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    for flag, option in _FLAGS.items():
        prefix, _, name = option.rpartition(".")
        record = _RECORDS[f"{prefix}." if prefix else ""]
        declaration, kind = declarations(record)[name], get_type_hints(record)[name]
        metavar = "N" if kind is int else name.upper()
        value = typer.Option(getattr(record, name), f"--{flag}", metavar=metavar, help=declaration.help_text)
        parameters.append(inspect.Parameter(flag, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=kind))
    vars(command)["__signature__"] = signature.replace(parameters=parameters)  # what typer reads
    return command


@_with_declared_flags
def generate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="MODEL", help="A classifier, named as for `tangency measure`: run:RUN/trials/TRIAL, …"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder for pictures, rows.parquet, summary.json and index.html."),
    ],
    task: Annotated[str, typer.Option("--task", metavar="TASK", help=TASK)] = "generate",
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Data set; by default that of the classifier.")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", metavar="MODEL", help="A classifier of another architecture and seed, which judges the pictures."
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option("--score", metavar="REF", help="A score to compare with, for example edm-fashion-mnist."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="CLASS", help="Class, by number or name; for a unit, its channel."),
    ] = None,
    references: Annotated[
        str,
        typer.Option(
            "--references", metavar="NAME,…", help="Who else does the task: bayes, mixture, score; none for nobody."
        ),
    ] = ("bayes,mixture,score"),
    frames: Annotated[int, typer.Option("--frames", metavar="N", help="Frames of the animation; 0 for none.")] = 16,
    animation: Annotated[
        str, typer.Option("--animation", metavar="FORMAT", help="Format of the animation: gif or apng.")
    ] = "gif",
    device: Device = "auto",
    trust_code: TrustCode = False,
    as_json: Json = False,
    **declared: Any,
) -> None:
    """Generate, denoise, inpaint, enlarge or change images by a classifier's gradients, and judge what comes out.

    The same is done by the Bayes rule of a mixture, by the mixture in closed form, and by a score, at an equal budget.
    An option that the task does not have is refused.
    """
    from tangency.cli.progress import advancing
    from tangency.evaluate.generation.saved import generate as made_by
    from tangency.generation.tasks.config import GenerationConfig, refuse_foreign, refuse_moot
    from tangency.report.write import ANIMATIONS, write_generation

    if animation not in ANIMATIONS:
        raise SpecError(unknown_name("animation", animation, ANIMATIONS))
    given = _given(context)
    named = tuple(part.strip() for part in references.split(",") if part.strip() not in ("", "none"))
    options = {_FLAGS[flag]: value for flag, value in declared.items()}
    climbed = {name.removeprefix("climb."): options.pop(name) for name in list(options) if name.startswith("climb.")}
    with as_typed({option: f"--{flag}" for flag, option in _NAMES.items() if flag != option}):
        refuse_foreign(task, given)
        climb = Climb(**climbed, frames=frames)
        config = GenerationConfig(task, climb=climb, target=target, references=named, **options)
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
        _show(made.results, paths)


def _given(context: typer.Context) -> list[str]:
    """The options that stand on the command line, as a task calls them, also where their values are the default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [_NAMES.get(name, name) for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def _show(results: GenerationSummary, paths: dict[str, Path]) -> None:
    """A table of every measure by source, then what could not be measured, and the files."""
    from tangency.cli.tables import console, interval, number, say, table
    from tangency.evaluate.generation.qualities import ABOUT, FRECHET, KID
    from tangency.report.text.generation import accuracy_words

    screen, sources, rows = console(), results.sources, []
    for name in dict.fromkeys(name for source in sources.values() for name in source.measures):
        cells = [interval(source.measures.get(name)) for source in sources.values()]
        rows.append([f"{name} {ABOUT[name].unit}".rstrip(), *cells])
    distances = [source.set.distances if source.set else {} for source in sources.values()]
    for name in (KID, *FRECHET, "recall"):
        if any(name in each for each in distances):
            rows.append([name, *(number(each.get(name)) for each in distances)])
    title = f"{results.task}, {results.count} images of {results.data}; mean [95 % interval over them]"
    screen.print(table(("measure", *sources), rows, title=title))
    for what, reason in results.unavailable.items():
        say(screen, f"no {what}: {reason}")
    if (judge := results.judged_by) is not None:
        say(screen, f"judge: {accuracy_words(judge.accuracy)}. {judge.warning}".rstrip())
    say(screen, ", ".join(f"{count} {name}" for name, count in sources["classifier"].counts.items()))
    for name, path in paths.items():
        typer.echo(f"{name}: {path}")
