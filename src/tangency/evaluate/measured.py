"""A measured classifier: its numbers as they are written, and its rows as they are read back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tangency.autodiff import Temperature
from tangency.errors import RunError, quoted
from tangency.evaluate.baseline import KappaAgainst, RegimeAgainst, RegimeAlone
from tangency.evaluate.entries import ExcessEntry, MeasureEntry, fields_json
from tangency.evaluate.fitting.closed import ScoreSpec
from tangency.evaluate.fitting.posterior import PosteriorAccuracy
from tangency.evaluate.numbers import Columns, check_replicates, trial_numbers
from tangency.evaluate.rests import KnownDirections
from tangency.evaluate.significance import excess_entries
from tangency.measures import MeasureConfig, Rows
from tangency.models.sanity import SanityCheck
from tangency.statistics import PairedBootstrap
from tangency.types import Dataset

MEASURED_SCHEMA = 1
_WHERE_PRESENT = ("weights", "maps", "cascade", "known_directions", "posterior_accuracy", "temperature")


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
    ids: NDArray[np.int64]
    columns: Columns

    @property
    def dimension(self) -> int:
        """d of an image at the working size."""
        shape = self.about["shape"]
        size = self.about["settings"].get("measures", {}).get("working_size") or shape[1:]
        return int(np.prod([shape[0], *size]))


@dataclass(frozen=True)
class MeasuredOn:
    """The images that a classifier was measured on, and how, so that models can be compared later.

    Args:
        digest, shape, classes: of the test images.
        licence: of the data set.
        settings: all that a number depends on besides the classifier and the test images, see `settings`.
    """

    digest: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    licence: str
    settings: dict[str, Any]

    @classmethod
    def of(cls, data: Dataset, config: MeasureConfig, score: ScoreSpec, **more: Any) -> MeasuredOn:
        """That of a measurement.

        Args:
            data: what is measured.
            config: the measures.
            score: how the closed form was made.
            **more: further settings: "tangents", "network_score".
        """
        kind = score.model_dump() if score.kind == "mfa" else {"kind": score.kind}
        own = settings(config, kind, data.train.digest, **more)
        return cls(data.test.digest, data.test.shape, data.test.classes, data.licence, own)


@dataclass(frozen=True)
class ModelEstimates:
    """The numbers of one classifier.

    Args:
        measures: key to the mean or pooled ratio with its interval and chance level.
        excess: key to F² minus its best control, alignments minus the shuffled one, with p-values and effect sizes.
    """

    measures: dict[str, MeasureEntry]
    excess: dict[str, ExcessEntry]

    def to_json(self) -> dict[str, Any]:
        """As they stand in summary.json."""
        return fields_json(self)


def estimates(rows: Rows, replicates: int = 2000) -> ModelEstimates:
    """Rows to numbers with 95 % paired-bootstrap intervals, pooled κ and ρ₂ among them.

    Args:
        rows: of one classifier, from `measure`.
        replicates: bootstrap resamples of the images.

    Returns:
        `measures`: key to mean, low, high, n, degenerate and chance; `excess`: key to F² minus its best control,
        alignments minus the shuffled one, likewise, with the excess over each control in `controls`, one-sided
        permutation p and effect sizes dz and null_sd. Means and bounds are in the measure's unit, None where no image
        has a value; `.to_json()` makes dictionaries of them.

    Raises:
        NumericsError: fewer than two replicates, or a column is missing that a pooled number rests on.

    Example:
        >>> import tangency, torch
        >>> data = tangency.load_data("fashion-mnist-5k")
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
        >>> x, y, few = data.test.images()[:6], data.test.labels[:6], data.train.subset(slice(0, None, 9))
        >>> config = MeasureConfig(sigmas=(0.5,), directions=1, metrics=("cosine",))
        >>> numbers = estimates(tangency.measure(net, x, y, train_data=few, config=config), replicates=100)
        >>> numbers.measures["accuracy"].n, numbers.measures["kappa.margin"].chance
        (6, 1.0)
    """
    check_replicates(replicates)
    columns = {key: values.cpu().numpy() for key, values in rows.columns.items()}
    numbers = trial_numbers(columns, PairedBootstrap(len(rows.ids), replicates), rows.dimension, rows.classes)
    measures = {key: MeasureEntry.of(e, chance=numbers.chance[key]) for key, e in numbers.estimates.items()}
    return ModelEstimates(measures, excess_entries(numbers.excess, columns))


@dataclass(frozen=True)
class CascadeStage:
    """The numbers of a classifier whose layers from this one on are drawn anew, as those of `ModelEstimates`."""

    from_layer: str
    measures: dict[str, MeasureEntry]
    excess: dict[str, ExcessEntry]


@dataclass(frozen=True)
class MeasuredModel:
    """The numbers of one classifier with what they rest on.

    Args:
        model: its reference.
        reading: what was decided when it was read, in sentences.
        check: its accuracy against chance, see `check_classifier`.
        data: name of the data set.
        measured: number of images.
        warnings: in sentences.
        on: images and settings.
        measures: key to estimate, as `estimates` has them.
        excess: key to its excess over its best control, likewise.
        weights: name to SHA-256 of the weights of metrics that are not part of this package.
        maps: "file", "sha256" and "names" of attribution maps.
        cascade: the estimates of each stage of cascading randomisation.
        regime: against the baseline; None before it is known.
        known_directions: what the tangent spaces of each estimator hold, by its name.
        posterior_accuracy: of the closed form's Bayes rule, by rising σ; none where it has no classes.
        temperature: of its calibrated log p, fitted to test images that are not measured; None where that is not
            measured.
    """

    model: str
    reading: list[str]
    check: SanityCheck
    data: str
    measured: int
    warnings: list[str]
    on: MeasuredOn
    measures: dict[str, MeasureEntry]
    excess: dict[str, ExcessEntry]
    weights: dict[str, str] = field(default_factory=dict)
    maps: dict[str, Any] = field(default_factory=dict)
    cascade: list[CascadeStage] = field(default_factory=list)
    regime: RegimeAgainst | KappaAgainst | RegimeAlone | None = None
    known_directions: dict[str, KnownDirections] = field(default_factory=dict)
    posterior_accuracy: list[PosteriorAccuracy] = field(default_factory=list)
    temperature: Temperature | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of summary.json."""
        content = fields_json(self)
        on = content.pop("on")
        used = {name: value for name, value in content.items() if value or name not in _WHERE_PRESENT}
        return {"schema": MEASURED_SCHEMA, **on, **used}


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
