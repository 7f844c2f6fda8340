"""The long table of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    import polars


def long_table(ids: Tensor, y: Tensor, columns: Mapping[str, Mapping[str, Tensor]]) -> polars.DataFrame:
    """Long table: image, class, source, measure, value."""
    import polars as pl

    numbers, classes = ids.cpu().numpy(), y.cpu().numpy()
    parts = [
        pl.DataFrame(
            {
                "image": numbers,
                "class": classes,
                "source": [source] * len(numbers),
                "measure": [name] * len(numbers),
                "value": values.double().cpu().numpy(),
            }
        )
        for source, own in columns.items()
        for name, values in own.items()
    ]
    return pl.concat(parts)
