"""Classifiers that were measured before: folders of `tangency measure --out`, and trials of a study."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.errors import RunError, listed, quoted, unknown_name
from tangency.evaluate.numbers import Columns
from tangency.files import polars_errors
from tangency.measures import MeasureConfig
from tangency.statistics.resamples import Array
from tangency.study.layout import Layout
from tangency.study.spec import ScoreSpec, StudySpec, load_spec
from tangency.types import Dataset
from tangency.worlds import world_of

if TYPE_CHECKING:
    import polars

MEASURED_SCHEMA = 1
_AGAIN = "Measure the model again: tangency measure --model REF --data REF --out DIR."
_KEYS = ("model", "data", "digest", "shape", "classes", "settings", "measures", "excess")


@dataclass(frozen=True)
class Measured:
    """Rows of one classifier with what they were measured on and how.

    Args:
        name: the model's reference, or the trial's id.
        folder: where it was read from.
        about: "data", "digest" of the test images, "shape", "classes", "settings".
        entry: "measures" and "excess" as in summary.json.
        ids: (N,) index of each image in the test set, ascending.
        columns: measure to (N,) values.
    """

    name: str
    folder: Path
    about: dict[str, Any]
    entry: dict[str, Any]
    ids: Array
    columns: Columns

    @property
    def dimension(self) -> int:
        """d of an image at the size that was worked at."""
        shape = self.about["shape"]
        size = self.about["settings"].get("measures", {}).get("working_size") or shape[1:]
        return int(np.prod([shape[0], *size]))


def about_measured(data: Dataset, config: MeasureConfig, score: ScoreSpec, **more: Any) -> dict[str, Any]:
    """What summary.json says of the images and of how they were measured, so that models can be compared later.

    Args:
        data: what is measured.
        config: the measures.
        score: how the closed form was made.
        **more: further settings: "tangents", "network_score".
    """
    kind = score.model_dump() if score.kind == "mfa" else {"kind": score.kind}
    return {
        "schema": MEASURED_SCHEMA,
        "digest": data.test.digest,
        "shape": list(data.test.shape),
        "classes": list(data.test.classes),
        "licence": data.licence,
        "settings": settings(config, kind, data.train.digest, **more),
    }


def settings(config: MeasureConfig, score: dict[str, Any], train: str, **more: Any) -> dict[str, Any]:
    """All that a number depends on besides the classifier and the test images, as JSON has it."""
    measures = config.plain
    del measures["network_controls"]  # more or fewer controls change no measure
    asked = {"measures": measures, "score": score, "training_images": train, **more}
    plain: dict[str, Any] = json.loads(json.dumps(asked))
    return plain


def open_measured(reference: str) -> Measured:
    """The measured classifier in a folder of `tangency measure --out`, or `run:RUN/trials/TRIAL` of a study.

    Raises:
        RunError: the folder is missing, foreign, unfinished, damaged, or of another version.
    """
    kind, _, location = reference.partition(":")
    if kind == "run" and location:
        return _trial(Path(location), reference)
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
    summary = _summary(folder, reference)
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
    rows = _rows(folder / "rows.parquet", _AGAIN)
    ids, columns = _columns(rows, folder, _AGAIN)
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


def _trial(named: Path, reference: str) -> Measured:
    import polars as pl

    run = named.parent.parent
    again = f"Run the study again: tangency study run '{run / 'spec.yaml'}' --out '{run}'; it goes on where it stopped."
    if named.parent.name != "trials" or not run.is_dir():
        raise RunError(f"'{reference}': no such run, expected run:RUN/trials/ID of a finished study.")
    summary = _summary(run, reference, again)
    trials = {trial["id"]: trial for trial in summary.get("trials", ())}
    by_hash = {trial["train_hash"]: name for name, trial in trials.items()}
    name = by_hash.get(named.name, named.name)
    if name not in trials:
        raise RunError(f"'{reference}': {unknown_name('trial', named.name, trials)}")
    if not trials[name]["measures"]:
        raise RunError(f"'{reference}': this trial {trials[name]['outcome']}, and has no rows; choose another.")
    rows = _rows(Layout(run).rows, again).filter(pl.col("trial") == name)
    ids, columns = _columns(rows, run, again)
    spec = load_spec(run / "spec.yaml")
    data = summary["data"]
    about = {key: data[key] for key in ("digest", "shape", "classes", "licence")} | {"data": data["name"]}
    about["settings"] = _study_settings(spec, data["shape"], summary["provenance"]["hashes"]["train_data"])
    return Measured(name, run, about, trials[name], ids, columns)


def _study_settings(spec: StudySpec, shape: list[int], train: str) -> dict[str, Any]:
    score = spec.score.model_dump() if spec.score.kind == "mfa" else {"kind": spec.score.kind}
    measures = spec.measures
    if world_of(spec.data) is None:
        measures = measures.at_size((shape[0], shape[1], shape[2]))
    return settings(measures, score, train, tangents=list(spec.tangents), network_score=spec.network_score)


def _summary(folder: Path, reference: str, again: str = _AGAIN) -> dict[str, Any]:
    path = folder / "summary.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"'{reference}': '{path}' is missing, so nothing was measured there, or it was broken off. {again}"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"'{path}': is not readable JSON ({quoted(error)}). {again}") from None
    if not isinstance(found, dict):
        raise RunError(f"'{path}': holds a {type(found).__name__}, expected an object. {again}")
    return found


def _rows(path: Path, again: str) -> polars.DataFrame:
    import polars as pl

    if not path.is_file():
        raise RunError(f"'{path}': is missing, so there is nothing to pair images by. {again}")
    try:
        with polars_errors():
            rows = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(f"'{path}': is not a readable Parquet table ({quoted(error)}). {again}") from None
    missing = {"trial", "image", "measure", "value"} - set(rows.columns)
    if missing:
        raise RunError(f"'{path}': has columns {rows.columns}, and lacks {sorted(missing)}. {again}")
    return rows


def _columns(rows: polars.DataFrame, folder: Path, again: str) -> tuple[Array, Columns]:
    """Image indices and measure to values, all measures on the same images."""
    ids: Array | None = None
    columns: Columns = {}
    for (measure,), group in rows.sort("measure", "image").group_by("measure", maintain_order=True):
        images = group["image"].to_numpy()
        ids = images if ids is None else ids
        if not np.array_equal(images, ids) or (np.diff(images) <= 0).any():
            raise RunError(f"'{folder}': the rows of '{measure}' are not one for each image. {again}")
        columns[str(measure)] = group["value"].to_numpy().astype(np.float64)
    if ids is None:
        raise RunError(f"'{folder}': holds no rows. {again}")
    return ids, columns
