"""Rows of a classifier that was measured before, and what they were measured on and how."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tangency.errors import RunError, quoted
from tangency.evaluate.fitting.closed import ScoreSpec
from tangency.evaluate.numbers import Columns
from tangency.measures import MeasureConfig
from tangency.statistics.resamples import Array
from tangency.types import Dataset

MEASURED_SCHEMA = 1


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
    plain: dict[str, Any] = json.loads(
        json.dumps({"measures": measures, "score": score, "training_images": train, **more})
    )
    return plain


def read_summary(folder: Path, reference: str, again: str) -> dict[str, Any]:
    """The summary.json of a folder; `again` says how it is made anew, for errors."""
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"'{reference}': '{path}' is missing, so nothing was measured there, or it was broken off. {again}"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"'{path}': is not readable JSON ({quoted(error)}). {again}") from None
    if not isinstance(summary, dict):
        raise RunError(f"'{path}': holds a {type(summary).__name__}, expected an object. {again}")
    return summary
