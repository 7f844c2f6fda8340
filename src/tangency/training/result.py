"""What a training leaves behind: weights, history, outcome."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.errors import RunError, quoted
from tangency.files import atomic, polars_errors
from tangency.models import Classifier, load_weights, save_classifier
from tangency.tensors import digest, read_tensors
from tangency.training.checkpoint import Progress, Row

MODEL, BEST, HISTORY, CHECKPOINT = (
    "model.safetensors",
    "best.safetensors",
    "history.parquet",
    "checkpoint.safetensors",
)


@dataclass(frozen=True)
class TrainResult:
    """A finished training.

    Args:
        classifier: with the last weights, or the last finite ones of a diverged run; in eval mode.
        outcome: "ok" or "diverged".
        epoch, step: epochs finished and steps into the next; where a diverged run diverged.
        best_epoch, best_accuracy: of the highest validation accuracy (the earliest of equals); None without one.
        history: one row an epoch, as in history.parquet.
        seconds: wall time of training, over all interruptions.
        folder: holds model.safetensors, best.safetensors, history.parquet.
    """

    classifier: Classifier
    outcome: str
    epoch: int
    step: int
    best_epoch: int | None
    best_accuracy: float | None
    history: list[Row]
    seconds: float
    folder: Path


def finite(value: float) -> float | None:
    """The value, or None where it is NaN or infinite, which JSON cannot hold."""
    return value if math.isfinite(value) else None


def save_with_record(classifier: Classifier, path: Path, record: dict[str, Any]) -> None:
    """Save the classifier; the record of its training joins the provenance of the card."""
    provenance = {**classifier.card.provenance, "training": record}
    classifier.card = dataclasses.replace(classifier.card, provenance=provenance)
    save_classifier(classifier, path)


def write_history(folder: Path, history: list[Row]) -> None:
    """One row an epoch, Parquet."""
    import polars

    names = list(history[0]) if history else ["epoch"]
    columns = {name: polars.Int64 if name == "epoch" else polars.Float64 for name in names}
    with atomic(folder / HISTORY) as temporary:
        polars.DataFrame(history, schema=columns).write_parquet(temporary)


def read_history(folder: Path) -> list[Row]:
    """What `write_history` wrote."""
    import polars

    try:
        with polars_errors():
            history: list[Row] = polars.read_parquet(folder / HISTORY).to_dicts()
    except (OSError, polars.exceptions.PolarsError) as error:
        raise RunError(
            f"{folder / HISTORY}: cannot be read ({quoted(error)}). Remove '{folder}' to train again."
        ) from error
    return history


def refuse_other(record: Mapping[str, Any], identity: Mapping[str, str], path: Path) -> None:
    """Raise where the record of a finished training is not that of the one that is asked for."""
    if {name: record.get(name) for name in identity} != dict(identity):
        raise RunError(
            f"{path}: holds the result of another training (other data, loss, settings or initial weights). Give "
            "another folder, or remove this one."
        )


def finished(folder: Path, classifier: Classifier, identity: dict[str, str]) -> TrainResult | None:
    """The result of an earlier run of the same training in this folder, loaded into the classifier; else None."""
    path = folder / MODEL
    if not path.exists():
        return None
    tensors, header = read_tensors(path)
    record = header.get("provenance", {}).get("training", {})
    # A notebook cell that runs twice hands over the classifier that it trained: that is the same training, finished.
    initial = {identity["initial"], digest(classifier.module.state_dict())} & {record.get("initial"), digest(tensors)}
    if record.get("fingerprint") != identity["fingerprint"] or not initial:
        raise RunError(
            f"{path}: holds the result of another training (other data, objective, settings or initial weights). "
            "Give another folder, or remove this one."
        )
    load_weights(classifier, path)
    return as_result(classifier, record, read_history(folder), folder)


def as_result(classifier: Classifier, record: dict[str, Any], history: list[Row], folder: Path) -> TrainResult:
    """The record of a training as a result."""
    names = ("outcome", "epoch", "step", "best_epoch", "seconds")
    told = {name: record[name] for name in names}
    best = record["best_merit"]
    return TrainResult(classifier.eval(), **told, best_accuracy=best, history=history, folder=folder)


def as_record(progress: Progress, outcome: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What the card says about a training: JSON values only."""
    return {
        **settings,
        "outcome": outcome,
        "epoch": progress.epoch,
        "step": progress.step,
        "best_epoch": progress.best_epoch,
        "best_merit": progress.best_merit,
        "seconds": progress.seconds + sum(float(row["seconds"] or 0) for row in progress.history),
    }
