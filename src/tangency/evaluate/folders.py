"""Folders of `tangency measure --out`: which they are, and what they hold."""

from __future__ import annotations

from pathlib import Path

from tangency.errors import RunError, listed
from tangency.evaluate.classifiers.origin import saved_model
from tangency.evaluate.measured import MEASURED_SCHEMA, Measured, read_summary
from tangency.measures.tables import columns_of, read_rows

_AGAIN = "Measure the model again: tangency measure --model REF --data REF --out DIR."
_KEYS = ("model", "data", "digest", "shape", "classes", "settings", "measures", "excess")


def open_measured(reference: str) -> Measured:
    """The measured classifier in a folder of `tangency measure --out`, or `run:RUN/trials/TRIAL` of a study.

    Raises:
        RunError: the folder is missing, foreign, unfinished, damaged, or of another version.
    """
    saved = saved_model(reference)
    if saved is not None:
        return saved.rows()
    folder = Path(reference)
    _check_folder(folder, reference)
    if is_study(folder):
        raise RunError(
            f"'{reference}': is the run of a study, expected one measured model; name a trial of it: "
            f"run:{reference}/trials/ID."
        )
    if not looks_measured(folder) and (inside := measured_inside(folder)):
        names = listed(f"'{child}'" for child in inside)
        raise RunError(f"'{reference}': holds {len(inside)} measured models, expected one; choose of {names}.")
    summary = read_summary(folder, reference, _AGAIN)
    if "task" in summary and "sources" in summary:
        raise RunError(
            f"'{reference}': was written by `tangency generate`, expected a measured model; its page is "
            f"'{folder / 'index.html'}'."
        )
    missing = [key for key in _KEYS if key not in summary]
    if missing:
        raise RunError(
            f"'{folder / 'summary.json'}': lacks {', '.join(missing)}, as one of an older version does, or one that "
            f"tangency did not write. {_AGAIN}"
        )
    if summary.get("schema") != MEASURED_SCHEMA:
        raise RunError(
            f"'{folder / 'summary.json'}': has schema {summary.get('schema')!r}, expected {MEASURED_SCHEMA}. {_AGAIN}"
        )
    shape = summary["shape"]
    if not isinstance(summary["settings"], dict) or not isinstance(shape, list) or len(shape) != 3:
        raise RunError(f"'{folder / 'summary.json'}': has settings or a shape that tangency did not write. {_AGAIN}")
    path = folder / "rows.parquet"
    ids, columns = columns_of(read_rows(path, _AGAIN), path, _AGAIN)
    return Measured(str(summary["model"]), folder, summary, summary, ids, columns)


def looks_measured(folder: Path) -> bool:
    """Whether a folder holds, or held, the numbers of one measured model."""
    return (folder / "summary.json").exists() or (folder / "rows.parquet").exists()


def measured_inside(folder: Path) -> list[Path]:
    """The folders of measured models that lie in a folder, by name."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and looks_measured(child))


def is_study(folder: Path) -> bool:
    """Whether a folder is the run of a study."""
    return (folder / "spec.yaml").exists() or (folder / "trials").is_dir()


def _check_folder(folder: Path, reference: str) -> None:
    wanted = "a folder that `tangency measure --out` wrote, or run:RUN/trials/ID"
    if folder.is_dir():
        return
    if folder.exists():
        raise RunError(
            f"'{reference}': is a file, expected {wanted}. A model is measured first: tangency measure --model "
            f"{reference} --data REF --out DIR."
        )
    raise RunError(f"'{reference}': no such folder, expected {wanted}.")
