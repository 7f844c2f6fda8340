"""The result of a training: weights, their record, history."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tangency.errors import RunError, quoted
from tangency.files import atomic, polars_errors
from tangency.training.checkpoint import Row

HISTORY, CHECKPOINT = "history.parquet", "checkpoint.safetensors"


@dataclass(frozen=True)
class TrainingRecord:
    """What the card of trained weights says of their training, under "training" in its provenance.

    Args:
        fingerprint, initial: SHA-256 of all that decides the result, and of the initial weights.
        config, data: how it was trained, and on what.
        outcome: "ok" or "diverged".
        epoch, step: epochs finished and steps into the next; where a diverged run diverged.
        best_epoch, best_merit: of the best weights on the validation images; None without any.
        seconds: wall time, over all interruptions.
        cpu_seconds: processor time of the process, with all its threads; None in files of older versions.
        settings: of the loss, by name.
    """

    fingerprint: str
    initial: str
    config: Mapping[str, object]
    data: Mapping[str, object]
    outcome: str
    epoch: int
    step: int
    best_epoch: int | None
    best_merit: float | None
    seconds: float
    cpu_seconds: float | None
    settings: Mapping[str, object]

    def to_json(self) -> dict[str, Any]:
        """As the card holds it, with the settings among the other fields."""
        plain = asdict(self)
        return {**self.settings, **{name: value for name, value in plain.items() if name != "settings"}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingRecord:
        """What `to_json` gave; None for what is missing."""
        names = [field.name for field in fields(cls) if field.name != "settings"]
        settings = {name: value for name, value in content.items() if name not in names}
        return cls(**{name: content.get(name) for name in names}, settings=settings)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    Args:
        record: what the card of the weights says of it.
        history: one row an epoch, as in history.parquet.
        folder: holds the last weights, the best weights and history.parquet.
    """

    record: TrainingRecord
    history: list[Row]
    folder: Path

    @property
    def outcome(self) -> str:
        """ "ok" or "diverged"."""
        return self.record.outcome

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the best weights on the validation images (the earliest of equals); None without any."""
        return self.record.best_epoch

    @property
    def seconds(self) -> float:
        """Wall time of training, over all interruptions."""
        return self.record.seconds

    @property
    def cpu_seconds(self) -> float | None:
        """Processor time of training, over all interruptions; None where an older version trained."""
        return self.record.cpu_seconds


def finite(value: float) -> float | None:
    """The value, or None where it is NaN or infinite, which JSON cannot hold."""
    return value if math.isfinite(value) else None


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
