"""The commands."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tangency.cli.cause import cause_app
from tangency.cli.commands import App
from tangency.cli.compare import compare, report
from tangency.cli.convert import convert
from tangency.cli.engines import (
    Account,
    Address,
    EngineKind,
    GpusPerTask,
    Memory,
    Partition,
    Sbatch,
    TimeLimit,
    Watch,
    chosen_engine,
    costs_sentence,
    print_going,
    print_left,
    watch_run,
)
from tangency.cli.generate import generate
from tangency.cli.measure import measure
from tangency.cli.options import Calibrate, Extend, Json, Out, Rehearse, Replace, StudyEpochs, Workers
from tangency.cli.output import print_json, run_and_report
from tangency.cli.score import score_app
from tangency.cli.tangents import tangents_app
from tangency.cli.worlds import worlds_app
from tangency.errors import SpecError

if TYPE_CHECKING:
    from tangency.study.spec import StudySpec

app = App(
    "Do the input gradients of an image classifier lie along the data manifold, and why (not)?",
    name="tangency",
    epilog="Start with [bold]tangency quickstart[/]; [bold]tangency COMMAND -h[/] explains a command.",
)


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"tangency {version('tangency')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Do the input gradients of an image classifier lie along the data manifold, and why (not)?"""


study_app = App("Train, measure and report the trials of a YAML spec.")

Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N; by default that of the spec."),
]
RunOut = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder of the run; by default runs/NAME, with the name in the spec."),
]
SpecFile = Annotated[
    Path,
    typer.Argument(
        help=(
            "YAML file, or the name of a study that comes with the package (small/… are small twins of paper/…): "
            "quickstart, regimes, linear, fitted, distractor, tangents, generation, paper/cifar10, "
            "paper/cifar10-tangents, paper/imagenet64, paper/imagenet, paper/mnist-distractor, small/cifar10, "
            "small/cifar10-tangents, small/imagenet64, small/imagenet, small/mnist-distractor."
        ),
        metavar="SPEC",
    ),
]


@app.command()
def quickstart(
    out: Out = Path("runs/quickstart"),
    epochs: StudyEpochs = None,
    workers: Workers = None,
    device: Device = None,
    extend: Extend = False,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Run the shipped study on real images from training to report.

    Trains ten small networks on 5,000 Fashion-MNIST images, measures 1,000 test images, and writes a report that
    shows the three regimes of robustness. No download, no GPU; a few minutes on two cores.
    """
    from tangency.study import quickstart_spec

    changes: dict[str, Any] = {} if epochs is None else {"train": {"epochs": epochs}}
    _run(
        quickstart_spec(**changes, **_given(workers=workers, device=device)),
        out,
        as_json,
        extend=extend,
        replace=replace,
    )


@study_app.command("run")
def study_run(
    spec: SpecFile,
    out: RunOut = None,
    workers: Workers = None,
    device: Device = None,
    engine: EngineKind = None,
    address: Address = None,
    partition: Partition = None,
    time: TimeLimit = None,
    mem: Memory = None,
    gpus_per_task: GpusPerTask = None,
    account: Account = None,
    sbatch: Sbatch = None,
    extend: Extend = False,
    replace: Replace = False,
    rehearse: Rehearse = None,
    as_json: Json = False,
) -> None:
    """Run a study: train, measure, summarise, report. Run again after an interruption, it continues."""
    from tangency.study import load_spec
    from tangency.study.rehearsal import rehearsal

    loaded = load_spec(spec).model_copy(update=_given(workers=workers, device=device))
    loaded = loaded if rehearse is None else rehearsal(loaded, rehearse)
    options = _given(address=address, partition=partition, time=time, mem=mem, account=account, sbatch=sbatch)
    options |= _given(kind=engine, gpus_per_task=gpus_per_task)
    loaded = loaded.model_copy(update={"engine": chosen_engine(loaded.engine, options)})
    _run(loaded, out or _folder(loaded.name), as_json, extend=extend, replace=replace)


@study_app.command("plan")
def study_plan(
    spec: SpecFile,
    out: RunOut = None,
    device: Device = None,
    calibrate: Calibrate = True,
    as_json: Json = False,
) -> None:
    """Print a spec with all defaults filled in, its trials, what they take, and what data and weights are missing.

    Time, memory and cost of each kind of task come from a few steps of training and a few measured images; what --out
    holds already is not counted again. Nothing is written.
    """
    from tangency.cli.show.plan import plan_json, print_plan
    from tangency.study import load_spec
    from tangency.study.forecast import foresee

    loaded = load_spec(spec).model_copy(update=_given(device=device))
    foreseen = foresee(loaded, out or _folder(loaded.name), calibrated=calibrate)
    if as_json:
        print_json(plan_json(loaded, foreseen))
    else:
        print_plan(loaded, foreseen)


@study_app.command("status")
def study_status_command(
    spec: SpecFile,
    out: RunOut = None,
    watch: Watch = False,
    as_json: Json = False,
) -> None:
    """List the trials of a study as waiting, trained, measured or generated, and what is being done."""
    from tangency.engines import left_on_slurm
    from tangency.study import load_spec, study_status

    loaded = load_spec(spec)
    folder = out or _folder(loaded.name)
    if watch:
        watch_run(folder)
    status = study_status(loaded, folder)
    left = left_on_slurm(folder)
    if as_json:
        print_json(dataclasses.asdict(status) | {"slurm": left and left.to_json()})
        return
    for trial, state in status.trials.items():
        typer.echo(f"{state:9} {trial}")
    if status.going is not None:
        print_going(status.going)
    if left is not None:
        print_left(left)
    typer.echo(costs_sentence(dataclasses.asdict(status.costs.total)))
    typer.echo(f"score {'fitted' if status.score else 'waiting'}, report {'written' if status.report else 'waiting'}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show versions, threads, accelerators, data and weights of this installation, and what is missing."""
    from tangency.cli.doctor import examine, print_examination

    report = examine()
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        print_examination(report)


def _run(spec: StudySpec, out: Path, as_json: bool, *, extend: bool, replace: bool) -> None:
    from tangency.cli.show.study import print_study

    run_and_report(spec, out, as_json, print_study, extend=extend, replace=replace)


def _folder(name: str) -> Path:
    """Output folder of a study without --out; never outside the folder `runs`."""
    if not re.fullmatch(r"\w[\w .+-]*", name) or len(name.encode()) > 200:
        raise SpecError(
            f"name: '{name[:80]}' cannot be a folder in runs/, expected letters, digits, dots, dashes and spaces. Give "
            "--out DIR, or another name."
        )
    return Path("runs") / name


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given on the command line."""
    return {name: value for name, value in options.items() if value is not None}


for _command in (measure, compare, report, generate, convert):
    app.command(_command.__name__)(_command)
for _group, _name in (
    (study_app, "study"),
    (cause_app, "cause"),
    (worlds_app, "worlds"),
    (score_app, "score"),
    (tangents_app, "tangents"),
):
    app.add_typer(_group, name=_name)
