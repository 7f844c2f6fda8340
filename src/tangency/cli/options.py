"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
Data = Annotated[
    str, typer.Option("--data", metavar="DATA", help="Data set, for example fashion-mnist-5k or world:torus.")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Output folder; an interrupted run is continued.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of all random numbers.")]
BatchSize = Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Images per training step.")]
LearningRate = Annotated[
    float, typer.Option("--learning-rate", metavar="RATE", help="Peak learning rate; decays to zero.")
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Allow a model file to run its own code; only for sources that you trust.")
]
Calibrate = Annotated[
    bool,
    typer.Option(
        "--calibrate/--no-calibrate",
        help="Time a few training steps and images, to forecast time and memory.",
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", min=1, help="Worker processes; by default those of the spec.")
]
Extend = Annotated[
    bool,
    typer.Option("--extend", help="Continue a run whose spec has changed, if the new one only adds to the old one."),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace", help="Continue a run with any changed spec; networks that it does not name are left out."
    ),
]
Rehearse = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=20, help="Try one trial only: one epoch on N images, into an output folder of its own."
    ),
]
StudyEpochs = Annotated[int | None, typer.Option(metavar="N", min=1, help="Epochs of each training (12 by default).")]
