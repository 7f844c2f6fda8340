"""Measured values, one row per image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tangency.errors import NumericsError, listed
from tangency.measures.keys import Key
from tangency.notebook import table

if TYPE_CHECKING:
    import polars

_SHOWN = 40  # measures that a notebook lists
HEAD = ("trial", "seed", "image")  # columns of a table before its measures


@dataclass(frozen=True)
class Rows:
    """Columns of per-image values of one classifier.

    Args:
        ids: (N,) index of each image in its data set.
        columns: measure key to (N,) float64; NaN where the measure is degenerate for that image
            (ln κ is ±∞ where a gradient lies wholly off or on the tangent space).
        dimension: d = C·H·W of an image.
        classes: number of classes.
        notes: what was decided about the classifier, in sentences ("its last softmax is taken off, …").
    """

    ids: Tensor
    columns: dict[str, Tensor]
    dimension: int
    classes: int
    notes: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Tensor:
        """Values of one measure, (N,); an unknown key is a `NumericsError` that names the near ones."""
        if key in self.columns:
            return self.columns[key]
        near = [known for known in self.columns if Key.parse(known).begins(key)][:4]
        hint = f" Known are {', '.join(near)}, …" if near else ""
        raise NumericsError(
            f"no measure '{key}' in these rows.{hint} `keys()` lists all; pooled ratios (kappa, rho) are numbers of a "
            "whole set of images: tangency.estimates(rows) has them, with intervals."
        )

    def __repr__(self) -> str:
        return f"Rows({len(self.ids)} images × {len(self.columns)} measures, d = {self.dimension})"

    def _repr_html_(self) -> str:
        """Mean, range and images without a value of each measure; measures before their controls."""
        order = sorted(self.columns, key=lambda key: bool(Key.parse(key).control))
        lines = []
        for key in order[:_SHOWN]:
            finite = self.columns[key][self.columns[key].isfinite()]
            numbers = (finite.mean(), finite.min(), finite.max()) if len(finite) else ()
            lost = len(self.columns[key]) - len(finite)
            lines.append([key, *(f"{float(number):.3g}" for number in numbers), *[""] * (3 - len(numbers)), lost or ""])
        rest = f"and {len(order) - _SHOWN} more in keys(); " if len(order) > _SHOWN else ""
        note = f"{rest}tangency.estimates(rows) has intervals, chance levels and the excess over controls."
        return table(
            repr(self), ["measure", "mean", "least", "most", "without a value"], lines, " ".join([*self.notes, note])
        )

    def keys(self) -> list[str]:
        """The measures that there are."""
        return list(self.columns)

    def mean(self) -> dict[str, float]:
        """Mean over the images that have a finite value; NaN where none has."""
        return {key: float(values[values.isfinite()].mean()) for key, values in self.columns.items()}

    def degenerate(self) -> dict[str, int]:
        """How many images have no finite value, by measure."""
        return {key: int((~values.isfinite()).sum()) for key, values in self.columns.items()}

    def frame(self, trial: str = "model", seed: int = 0) -> polars.DataFrame:
        """Table with a row for each image: trial, seed, image, then a float64 column for each measure."""
        import polars as pl

        head = [pl.lit(trial).alias("trial"), pl.lit(seed, dtype=pl.Int64).alias("seed")]
        columns = {"image": self.ids, **{key: values.double() for key, values in self.columns.items()}}
        return pl.DataFrame({key: values.cpu().numpy() for key, values in columns.items()}).select(*head, pl.all())

    def at(self, places: Tensor) -> Rows:
        """The rows at some places, in their order."""
        here = {device: places.to(device) for device in {values.device for values in self.columns.values()}}
        columns = {key: values[here[values.device]] for key, values in self.columns.items()}
        return dataclasses.replace(self, ids=self.ids[places.to(self.ids.device)], columns=columns)

    @staticmethod
    def concatenate(parts: Sequence[Rows]) -> Rows:
        """Batches of the same classifier and measures, one after the other.

        Raises:
            NumericsError: they do not have the same measures.
        """
        first = parts[0]
        for part in parts:
            if differ := sorted(first.columns.keys() ^ part.columns.keys()):
                raise NumericsError(
                    f"{listed(differ, 3)}: measured of some images only, expected every batch of images to have the "
                    "same measures; a measure without a value is NaN."
                )
        columns = {key: torch.cat([part.columns[key] for part in parts]) for key in first.columns}
        return Rows(torch.cat([part.ids for part in parts]), columns, first.dimension, first.classes)
