"""Shards of rows to one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tangency.errors import RunError
from tangency.evaluate.numbers import Columns
from tangency.files import atomic
from tangency.study.layout import Layout
from tangency.study.plan import Trial

if TYPE_CHECKING:
    import polars


def assemble_rows(layout: Layout, trials: list[Trial], shards: list[list[int]]) -> polars.DataFrame:
    """Rows of all trials in one sorted table, written to rows.parquet; the order of work leaves no trace."""
    import polars as pl

    parts = []
    for trial in trials:
        head = [pl.lit(trial.id).alias("trial"), pl.lit(trial.seed, dtype=pl.Int64).alias("seed")]
        for images in shards:
            shard = pl.read_parquet(layout.shard(trial, images))
            parts.append(shard.select(*head, "image", "measure", "value"))
    if not parts:
        raise RunError("no trial could be measured: every one diverged. Lower the learning rate or the strengths.")
    table = pl.concat(parts).sort("trial", "measure", "image")
    with atomic(layout.rows) as temporary:
        table.write_parquet(temporary, compression="zstd")
    return table


def columns_by_trial(table: polars.DataFrame) -> dict[str, Columns]:
    """Trial to measure to values (N,), all in the order of the image index, so that they are paired."""
    columns: dict[str, Columns] = {}
    for (trial, measure), group in table.group_by("trial", "measure", maintain_order=True):
        columns.setdefault(str(trial), {})[str(measure)] = group.sort("image")["value"].to_numpy().astype(np.float64)
    return columns
