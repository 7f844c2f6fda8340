"""The folder of a study, with rows, shards and cards: it is gone on with, summed up, reported, compared."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from fuzz.mutations import TEXT
from fuzz.subjects import RAW, SAFETENSORS, Subject, _by_kind, _resealed, _whole_or_text
from study_support import InProcess, tiny_spec, write_data


def _study(folder: Path) -> None:
    """Go on with the study, or begin it."""
    from tangency.study import run_study
    from tangency.study.spec import load_spec, parse_spec

    run = folder / "run"
    spec = run / "spec.yaml"
    if spec.exists():
        asked = load_spec(spec)
    else:
        asked = parse_spec(tiny_spec(folder / "data" / "tiny.npz", sweep=[{"objective": "standard"}]), "fuzz")
    with mock.patch("tangency.study.run.open_engine", InProcess):
        run_study(asked, run)


def _make(folder: Path) -> None:
    """A run whose spec names its data by a path that holds wherever the folder lies: the mutants lie elsewhere."""
    import os

    write_data(folder / "data")
    os.chdir(folder)
    _study(Path("."))


def _gone_on_with(folder: Path) -> None:
    import os

    os.chdir(folder)
    _study(Path("."))


def _looked_at(folder: Path) -> None:
    """Status, report, the measured trial, its weights: whatever each makes of the folder, none may crash."""
    import os

    from tangency.errors import TangencyError
    from tangency.evaluate.folders import open_measured
    from tangency.models import load_model
    from tangency.report import write_report
    from tangency.study import load_spec
    from tangency.study.run import study_status

    os.chdir(folder)
    trial = next(Path("run/trials").glob("*/model.safetensors")).parent
    refused: list[TangencyError] = []
    for look in (
        lambda: study_status(load_spec(Path("run/spec.yaml")), Path("run")),
        lambda: write_report(Path("run")),
        lambda: open_measured(f"run:{trial}"),
        lambda: load_model(str(trial / "model.safetensors")),
    ):
        try:
            look()
        except TangencyError as error:
            refused.append(error)
    if refused:
        raise refused[0]


KINDS = (_by_kind(TEXT, (RAW,)), _by_kind(TEXT, (RAW, *SAFETENSORS, _resealed)))
RUN_FOLDERS = {
    "run gone on with": Subject(_make, _gone_on_with, (KINDS[0],), _whole_or_text, "run/**/*", writes=True),
    "run looked at": Subject(_make, _looked_at, (KINDS[0],), _whole_or_text, "run/**/*", writes=True),
}
