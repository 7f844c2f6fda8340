"""The files of a run directory, checked once at the door."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tangency.errors import RunError, SpecError, quoted
from tangency.measures.tables import read_rows
from tangency.report.read.pictures import KeptPictures, read_pictures, tensors_of
from tangency.report.read.score import score_card
from tangency.report.read.summary import WAY_OUT, read_summary
from tangency.study.summary.entries import StudySummary

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class RunFiles:
    """What the files of a run directory hold.

    Args:
        folder: the run directory.
        spec: text of spec.yaml, shown as it is.
        summary: content of summary.json.
        rows: columns trial, seed, image, and one for each measure.
        pictures: "image" in [0, 1], "labels", the targets and "gradient.<trial>", each (S, C, H, W); empty where the
            run kept none.
        network: pictures of the examination of the study's trained score; empty where there is none.
        generated: the first generated pictures, "<task>.trial.<trial>", "<task>.reference.<source>", "<task>.labels".
        kept: what else is known of the pictured images.
    """

    folder: Path
    spec: str
    summary: StudySummary
    rows: polars.DataFrame
    pictures: dict[str, np.ndarray]
    network: dict[str, np.ndarray] = field(default_factory=dict)
    generated: dict[str, np.ndarray] = field(default_factory=dict)
    kept: KeptPictures = field(default_factory=KeptPictures)


def read_run(folder: Path) -> RunFiles:
    """Read and check the files of a run.

    Raises:
        RunError: the directory or a file is missing, damaged, or of another schema.
    """
    if not folder.is_dir():
        raise RunError(f"report: got '{folder}', which is no directory; expected a run directory of `tangency study`.")
    summary = read_summary(present(folder / "summary.json"))
    kept = read_pictures(folder / "artefacts" / "pictures.safetensors", score_card(summary).kind)
    return RunFiles(
        folder=folder,
        spec=read_spec(present(folder / "spec.yaml"), summary.spec_hash),
        summary=summary,
        rows=read_rows(present(folder / "rows.parquet"), WAY_OUT),
        pictures=kept.pictures,
        network=read_network(folder, summary),
        generated=read_generated(folder, summary),
        kept=kept,
    )


def present(path: Path) -> Path:
    """The path, checked: it is a file."""
    if not path.is_file():
        raise RunError(f"report: '{path}' is missing, expected it in a finished run. {WAY_OUT}")
    return path


def read_spec(path: Path, expected: str) -> str:
    """The text of the spec, checked: it is the one that the summary was made from."""
    from tangency.study.spec import load_spec

    try:
        digest = load_spec(path).digest()
    except SpecError as error:
        raise RunError(
            f"report: '{path}' is not a spec of this version of tangency ({quoted(error)}). {WAY_OUT}"
        ) from error
    if digest != expected:
        raise RunError(
            f"report: the summary is of another spec (hash {expected}, spec.yaml has {digest}), '{path}': "
            "run the study again."
        )
    return path.read_text(encoding="utf-8")


def read_network(folder: Path, summary: StudySummary) -> dict[str, np.ndarray]:
    """Pictures of the examination of a trained score; empty where the summary names no file of them."""
    file = (score_card(summary).network or {}).get("file")
    return tensors_of(present(folder / "artefacts" / str(file))) if file else {}


def read_generated(folder: Path, summary: StudySummary) -> dict[str, np.ndarray]:
    """Generated pictures; empty where the study generated none."""
    if not summary.generation:
        return {}
    return tensors_of(present(folder / "artefacts" / "generation.safetensors"))
