"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Data = Annotated[str, typer.Option("--data", help="Data set, e.g. fashion-mnist-5k or world:torus.")]
Out = Annotated[Path, typer.Option("--out", help="Output folder; an interrupted run is continued.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images per training step.")]
LearningRate = Annotated[float, typer.Option("--learning-rate", help="Peak learning rate; decays to zero.")]
Extend = Annotated[bool, typer.Option("--extend", help="Go on where the spec only adds to that of the run.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Go on with any spec, even if networks that are trained are left out.")
]
Rehearse = Annotated[
    int | None,
    typer.Option(min=20, help="Only one of the trials, for one epoch on this many images, into a folder of its own."),
]
StudyEpochs = Annotated[int | None, typer.Option(min=1, help="Epochs of each training (12 by default).")]
