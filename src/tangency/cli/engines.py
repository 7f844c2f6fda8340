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
_PAUSE = 2.0  # seconds between two looks at a run

EngineKind = Annotated[
    str | None, typer.Option("--engine", help="local, ray or slurm; the spec's by default.", rich_help_panel=_PANEL)
]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster: auto or HOST:PORT; else one is started here.", rich_help_panel=_PANEL),
]
Partition = Annotated[str | None, typer.Option(help="Slurm partition.", rich_help_panel=_PANEL)]
TimeLimit = Annotated[int | None, typer.Option("--time", help="Minutes of a Slurm job.", rich_help_panel=_PANEL)]
Memory = Annotated[
    float | None,
    typer.Option("--mem", help="GB of each Slurm worker; what its tasks need by default.", rich_help_panel=_PANEL),
]
GpusPerTask = Annotated[
    float | None, typer.Option(help="GPUs of each worker; a fraction where they share one.", rich_help_panel=_PANEL)
]
Account = Annotated[str | None, typer.Option(help="Slurm account.", rich_help_panel=_PANEL)]
Sbatch = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Further sbatch options.", rich_help_panel=_PANEL)
]
Watch = Annotated[bool, typer.Option("--watch", help="Look again every two seconds while a process works on the run.")]


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
    if left.sure:
        jobs = listed((f"{job} ({does})" for job, does in left.jobs.items()), _NAMED)
        typer.echo(f"no process here drives this run, but its Slurm jobs go on: {jobs}")
    else:
        jobs = listed(left.jobs, _NAMED)
        typer.echo(f"no process here drives this run; Slurm does not answer (squeue), its jobs may go on: {jobs}")
    typer.echo(f"  {left.done} of {left.tasks} tasks of their phase done; `tangency study run` takes them up")
    for task in left.running:
        typer.echo(f"  running  {task.name}, {task.share:.0%}, on {task.where}")


def costs_sentence(total: Mapping[str, float]) -> str:
    """What the jobs of all runs in a folder took, from `costs.total` of a summary."""
    gpus = f", {total['gpu_seconds']:.0f} s of GPUs" if total["gpu_seconds"] else ""
    return f"all jobs so far: {total['cpu_seconds']:.0f} s of processors{gpus}, {total['seconds']:.0f} s of workers"


def watch_run(folder: Path) -> None:
    """Print how a run goes on until no process works on it."""
    from tangency.engines import read_going
    from tangency.study.layout import Layout

    layout = Layout(folder)
    while layout.held():
        going = read_going(layout.going)
        if going is not None:
            print_going(going)
        time.sleep(_PAUSE)
