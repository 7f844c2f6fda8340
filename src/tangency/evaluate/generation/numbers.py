"""Numbers of pictures: a long table with a row for each, estimates over them, and numbers of a whole set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from tangency.evaluate.entries import ABSENT, MeasureEntry
from tangency.evaluate.generation.qualities import COUNTED, KID, chance
from tangency.statistics import Estimate
from tangency.statistics.resamples import Array

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class SetNumbers:
    """Numbers of a set of pictures against real ones.

    Args:
        features: name of the network that they are compared in.
        pictures, real: how many there are.
        distances: "kid", its "kid_standard_error", a Fréchet distance and "recall", those that could be taken.
    """

    features: str
    pictures: int
    real: int
    distances: dict[str, float]

    def to_json(self) -> dict[str, str | float]:
        """One flat dictionary."""
        return {"features": self.features, "pictures": self.pictures, "real": self.real, **self.distances}

    @staticmethod
    def from_json(numbers: Mapping[str, Any]) -> SetNumbers:
        """What `to_json` wrote."""
        distances = dict(numbers)
        return SetNumbers(distances.pop("features"), distances.pop("pictures"), distances.pop("real"), distances)


@dataclass(frozen=True)
class SourceNumbers:
    """Numbers of the pictures of one source.

    Args:
        measures: estimates over the pictures, with chance levels.
        counts: of pictures whose ascent ended in each way.
        set: numbers of the pictures as a set; None where they were not compared as one.
    """

    measures: dict[str, MeasureEntry]
    counts: dict[str, int]
    set: SetNumbers | None = field(default=None, metadata=ABSENT)

    @staticmethod
    def of(
        columns: Mapping[str, Array], draws: Mapping[str, Array], as_set: SetNumbers | None, classes: int
    ) -> SourceNumbers:
        """From columns (N,), draws (1 + B,) of the measures and of the KID of the set, and the number of classes."""
        measures = {}
        for name, values in draws.items():
            if name == KID and as_set is not None:
                estimate = Estimate.of(values, as_set.pictures)
            else:
                finite = int(np.isfinite(columns[name]).sum())
                estimate = Estimate.of(values, finite, len(columns[name]) - finite)
            measures[name] = MeasureEntry.of(estimate, chance=chance(name, classes))
        counts = {name: int(columns[name].sum()) for name in COUNTED if name in columns}
        return SourceNumbers(measures, counts, as_set)


def long_table(ids: Tensor, y: Tensor, columns: Mapping[str, Mapping[str, Tensor]]) -> polars.DataFrame:
    """Long table: image, class, source, measure, value."""
    import polars as pl

    numbers, classes = ids.cpu().numpy(), y.cpu().numpy()
    parts = [
        pl.DataFrame({"image": numbers, "class": classes, "value": values.double().cpu().numpy()}).select(
            "image", "class", pl.lit(source).alias("source"), pl.lit(name).alias("measure"), "value"
        )
        for source, own in columns.items()
        for name, values in own.items()
    ]
    return pl.concat(parts)
