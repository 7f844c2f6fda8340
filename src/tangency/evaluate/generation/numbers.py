"""Numbers of pictures: a long table with a row for each, estimates over them, and numbers of a whole set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from tangency.evaluate.generation.qualities import COUNTED, KID, chance
from tangency.evaluate.numbers import as_json
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

    def to_json(self) -> dict[str, Any]:
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
        measures: estimates over the pictures.
        counts: of pictures whose ascent ended in each way.
        as_set: None where the pictures were not compared as a set.
    """

    measures: dict[str, Estimate]
    counts: dict[str, int]
    as_set: SetNumbers | None

    @staticmethod
    def of(columns: Mapping[str, Array], draws: Mapping[str, Array], as_set: SetNumbers | None) -> SourceNumbers:
        """From columns (N,), and draws (1 + B,) of the measures and of the KID of the set."""
        measures = {}
        for name, values in draws.items():
            if name == KID and as_set is not None:
                measures[name] = Estimate.of(values, as_set.pictures)
            else:
                finite = int(np.isfinite(columns[name]).sum())
                measures[name] = Estimate.of(values, finite, len(columns[name]) - finite)
        counts = {name: int(columns[name].sum()) for name in COUNTED if name in columns}
        return SourceNumbers(measures, counts, as_set)

    def to_json(self, classes: int) -> dict[str, Any]:
        """With chance levels for this many classes; "set" only where there is one."""
        measures = {name: as_json(value, chance=chance(name, classes)) for name, value in self.measures.items()}
        as_set = {} if self.as_set is None else {"set": self.as_set.to_json()}
        return {"measures": measures, "counts": self.counts} | as_set


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
