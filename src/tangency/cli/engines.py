"""Options of engines on the command line, and how a run goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tangency.errors import SpecError, listed

if TYPE_CHECKING:
    from tangency.engines import EngineConfig, Going, SlurmLeft

_PANEL = "Clusters"
_NAMED = 8  # Slurm jobs that are named at most
_PAUSE, _ASK = 2.0, 15.0  # seconds between two looks at a run, and between two questions to Slurm


def _cluster(text: str, *names: str, metavar: str) -> Any:
    """An option of an engine."""
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=_PANEL)


EngineKind = Annotated[
    str | None, _cluster("local, ray or slurm; by default that of the spec.", "--engine", metavar="ENGINE")
]
Address = Annotated[
    str | None,
    _cluster("Ray: auto or HOST:PORT of a cluster; without it one is started on this machine.", metavar="ADDRESS"),
]
Partition = Annotated[str | None, _cluster("Slurm: partition of the jobs.", metavar="NAME")]
TimeLimit = Annotated[int | None, _cluster("Slurm: longest time of a job, in minutes.", "--time", metavar="MINUTES")]
Memory = Annotated[
    float | None,
    _cluster("Slurm: memory of each worker, in GB; by default what its tasks need.", "--mem", metavar="GB"),
]
GpusPerTask = Annotated[
    float | None, _cluster("GPUs of each worker; a fraction, where workers share a GPU.", metavar="GPUS")
]
Account = Annotated[str | None, _cluster("Slurm: account of the jobs.", metavar="NAME")]
Sbatch = Annotated[
    list[str] | None, _cluster("Slurm: a further option of sbatch; may be given several times.", metavar="KEY=VALUE")
]
Watch = Annotated[
    bool,
    typer.Option("--watch", help="Keep printing the state while a process or a Slurm job works on the run."),
]


def chosen_engine(own: EngineConfig, options: Mapping[str, Any]) -> EngineConfig:
    """The engine of a spec with options of the command line in place of its own; another kind begins anew."""
    from pydantic import ValidationError

    from tangency.engines import EngineConfig
    from tangency.validation import complaints

    options = dict(options)
    if "sbatch" in options:
        options["sbatch"] = dict(_pair(each) for each in options["sbatch"])
    same = options.get("kind", own.kind) == own.kind
    try:
        return EngineConfig.model_validate((own.model_dump() if same else {}) | options)
    except ValidationError as error:
        keys = list(EngineConfig.model_fields)
        raise SpecError(f"engine: {complaints(error, EngineConfig, lambda _: keys)}.") from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise SpecError(f"--sbatch: got '{text}', expected KEY=VALUE, as in constraint=a100.")
    return key, value


def print_going(going: Going) -> None:
    """What is done, running, lost, and the time that is left."""
    left = "" if going.left is None else f", about {going.left:.0f} s left"
    typer.echo(f"{going.phase}: {going.done} of {going.jobs} tasks done, {going.share:.0%}{left}")
    if going.dashboard:
        typer.echo(f"  dashboard  {going.dashboard}")
    for job in going.running:
        typer.echo(f"  running  {job.name}, {job.share:.0%}, on {job.where}")
    for lost in going.lost:
        typer.echo(f"  lost and tried again  {lost.name}, on {lost.where}: {lost.why}")


def print_left(left: SlurmLeft) -> None:
    """What goes on in Slurm jobs without a driver."""
    if left.why:
        jobs = listed(left.jobs, _NAMED)
        typer.echo(f"no process here drives this run; its Slurm jobs may go on: {jobs} ({left.why})")
    else:
        jobs = listed((f"{job} ({does})" for job, does in left.jobs.items()), _NAMED)
        typer.echo(f"no process here drives this run, but its Slurm jobs go on: {jobs}")
    typer.echo(f"  {left.done} of {left.tasks} tasks of their phase done; `tangency study run` takes them up")
    for task in left.running:
        typer.echo(f"  running  {task.name}, {task.share:.0%}, on {task.where}")


def costs_sentence(total: Mapping[str, float]) -> str:
    """What the jobs of all runs in a folder took, from `costs.total` of a summary."""
    gpus = f", {total['gpu_seconds']:.0f} s of GPUs" if total["gpu_seconds"] else ""
    return f"all jobs so far: {total['cpu_seconds']:.0f} s of processors{gpus}, {total['seconds']:.0f} s of workers"


def watch_run(folder: Path) -> None:
    """Print how a run goes on until no process works on it, nor a Slurm job whose driver was killed."""
    from tangency.engines import left_on_slurm, read_going
    from tangency.study.layout import Layout

    layout = Layout(folder)
    while True:
        if layout.held():
            going = read_going(layout.going)
            if going is not None:
                print_going(going)
            time.sleep(_PAUSE)
            continue
        left = left_on_slurm(folder)
        if left is None or not left.later:  # what is left is said once, behind the states of the trials
            return
        print_left(left)
        time.sleep(_ASK)
