"""What the report reads from a run directory, checked once at the door."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.errors import RunError, SpecError, quoted
from tangency.files import polars_errors
from tangency.report.glossary import REFERENCES, STANDARD

if TYPE_CHECKING:
    import polars

SCHEMA = 1
_NUMBERS = ("mean", "low", "high", "n", "degenerate", "chance")
REQUIRED = ("name", "spec_hash", "data", "score", "trials", "regimes", "provenance")
TARGETS = ("bayes_gradient", "score_y", "score")
WAY_OUT = "Run the study again into the same directory: it skips what is finished and rewrites this file."


@dataclass(frozen=True)
class RunFiles:
    """The four files of a run.

    Args:
        folder: the run directory.
        spec: text of spec.yaml, shown as it is.
        summary: content of summary.json.
        rows: columns trial, seed, image, measure, value.
        pictures: "image" in [0, 1], "labels", the targets and "gradient.<trial>", each (M, C, H, W).
        network: pictures of the examination of the study's trained score; empty where there is none.
        generated: the first generated pictures, "<task>.trial.<trial>", "<task>.reference.<source>", "<task>.labels".
    """

    folder: Path
    spec: str
    summary: dict[str, Any]
    rows: polars.DataFrame
    pictures: dict[str, np.ndarray]
    network: dict[str, np.ndarray] = field(default_factory=dict)
    generated: dict[str, np.ndarray] = field(default_factory=dict)


def read_run(folder: Path) -> RunFiles:
    """Read and check the files of a run.

    Raises:
        RunError: the directory or a file is missing, damaged, or of another schema.
    """
    if not folder.is_dir():
        raise RunError(f"report: got '{folder}', which is no directory; expected a run directory of `tangency study`.")
    summary = read_summary(present(folder / "summary.json"))
    return RunFiles(
        folder=folder,
        spec=read_spec(present(folder / "spec.yaml"), summary["spec_hash"]),
        summary=summary,
        rows=read_rows(present(folder / "rows.parquet")),
        pictures=read_pictures(
            present(folder / "artefacts" / "pictures.safetensors"), str(summary["score"].get("kind"))
        ),
        network=read_network(folder, summary),
        generated=read_generated(folder, summary),
    )


def present(path: Path) -> Path:
    """The path, if it is a file."""
    if not path.is_file():
        raise RunError(f"report: '{path}' is missing, expected it in a finished run. {WAY_OUT}")
    return path


def read_spec(path: Path, expected: str) -> str:
    """The text of the spec, if it is the one that the summary was made from."""
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


def read_summary(path: Path) -> dict[str, Any]:
    """The summary, if it is JSON of the schema that this report knows."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(
            f"report: '{path}' is not valid JSON ({quoted(error)}), expected a run's summary. {WAY_OUT}"
        ) from error
    if not isinstance(summary, dict):
        raise RunError(f"report: '{path}' holds a {type(summary).__name__}, expected an object. {WAY_OUT}")
    if summary.get("schema") != SCHEMA:
        raise RunError(
            f"report: '{path}' has schema {summary.get('schema')!r}, expected {SCHEMA}. {WAY_OUT} "
            "Or write the report with the version of tangency that made the run."
        )
    missing = [key for key in REQUIRED if key not in summary]
    if missing:
        raise RunError(f"report: '{path}' lacks {', '.join(missing)}, expected all of {', '.join(REQUIRED)}. {WAY_OUT}")
    if not summary["trials"]:
        raise RunError(f"report: '{path}' holds no trial, expected at least one. {WAY_OUT}")
    _check_estimates(summary["trials"], path)
    tell_variants_apart(summary["trials"])
    return summary


def _check_estimates(trials: Any, path: Path) -> None:
    """Raise where an estimate of a trial holds something else than numbers, as in an altered file."""
    for trial in trials:
        for kind in ("measures", "excess"):
            held = trial.get(kind, {}) if isinstance(trial, dict) else None
            if not isinstance(held, dict):
                raise RunError(f"report: '{path}' has a trial without {kind} by name, as an altered file. {WAY_OUT}")
            for name, entry in held.items():
                numbers = [entry.get(key) for key in _NUMBERS] if isinstance(entry, dict) else [entry]
                if entry is not None and not all(value is None or isinstance(value, int | float) for value in numbers):
                    raise RunError(f"report: '{path}', {kind} '{name}': not of numbers, as an altered file. {WAY_OUT}")


def tell_variants_apart(trials: list[dict[str, Any]]) -> None:
    """Give legacy behaviour, and other options of an objective, a name of their own, so that each is its own curve."""
    variants = [variant(trial) for trial in trials]
    of: dict[str, set[str]] = {}
    for trial, own in zip(trials, variants, strict=True):
        of.setdefault(trial["objective"], set()).add(own)
    for trial, own in zip(trials, variants, strict=True):
        alone = len(of[trial["objective"]]) == 1 and not own.startswith("-pags")
        if own and not alone and trial["objective"] not in (STANDARD, *REFERENCES):
            trial["objective"] += own


def variant(trial: Mapping[str, Any]) -> str:
    """What an id holds beside objective, strength and seed: "-pags", a hash of the options, or nothing."""
    name, head = str(trial["id"]), f"{trial['objective']}-{trial['strength']:g}"
    return name.removesuffix(f"-s{trial['seed']}").removeprefix(head) if name.startswith(head) else ""


def read_rows(path: Path) -> polars.DataFrame:
    """The per-image rows, if the table has its five columns."""
    import polars

    try:
        with polars_errors():
            rows = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise RunError(f"report: '{path}' is not a readable Parquet table ({quoted(error)}). {WAY_OUT}") from error
    missing = {"trial", "seed", "image", "measure", "value"} - set(rows.columns)
    if missing:
        raise RunError(f"report: '{path}' has columns {rows.columns}, and lacks {sorted(missing)}. {WAY_OUT}")
    return rows


def read_network(folder: Path, summary: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Pictures of the examination that the summary names; none where it names none."""
    named = (summary["score"].get("network") or {}).get("file")
    return tensors_of(present(folder / "artefacts" / str(named))) if named else {}


def read_generated(folder: Path, summary: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Generated pictures, where the study made any."""
    asked = summary.get("generation")
    return tensors_of(present(folder / "artefacts" / "generation.safetensors")) if asked else {}


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found: dict[str, np.ndarray] = load_file(path)
    except (SafetensorError, OSError, KeyError) as error:
        raise RunError(f"report: '{path}' is not a readable safetensors file ({quoted(error)}). {WAY_OUT}") from error
    return found


def read_pictures(path: Path, score: str) -> dict[str, np.ndarray]:
    """The pictures, if images, labels and the targets of a score of this kind are there and agree in shape."""
    pictures = tensors_of(path)
    held = () if score == "none" else TARGETS
    missing = [name for name in ("image", "labels", *held) if name not in pictures]
    if missing:
        raise RunError(
            f"report: '{path}' lacks {', '.join(missing)}; it holds {', '.join(sorted(pictures))}. {WAY_OUT}"
        )
    shape = pictures["image"].shape
    for name, picture in pictures.items():
        expected = shape[:1] if name == "labels" else shape
        if picture.shape != expected:
            raise RunError(f"report: '{name}' in '{path}' has shape {picture.shape}, expected {expected}. {WAY_OUT}")
    return pictures
