"""Shards of rows to one table."""

from __future__ import annotations

from tangency.errors import RunError
from tangency.evaluate.numbers import Columns
from tangency.measures.tables import columns_of, join_shards, read_rows
from tangency.study.layout import Layout
from tangency.study.plan import Trial


def assemble_rows(layout: Layout, trials: list[Trial], shards: list[list[int]]) -> None:
    """Write rows.parquet: the rows of all trials in one table, sorted by trial; the order of work leaves no trace."""
    if not trials:
        raise RunError("no trial could be measured: every one diverged. Lower the learning rate or the strengths.")
    ordered = sorted(trials, key=lambda trial: trial.id)
    join_shards(
        layout.rows, [(trial.id, trial.seed, [layout.shard(trial, images) for images in shards]) for trial in ordered]
    )


def shard_columns(layout: Layout, trial: Trial, shards: list[list[int]], keys: list[str]) -> Columns:
    """Some measures of one trial, key to values (N,) in the order of measurement, from its shards."""
    import polars as pl

    tables = [pl.read_parquet(layout.shard(trial, images), columns=keys, glob=False) for images in shards]
    return {key: pl.concat([table[key] for table in tables]).to_numpy() for key in keys}


def columns_by_trial(layout: Layout) -> dict[str, Columns]:
    """Trial to measure to values (N,), all in the order of the image index, so that they are paired."""
    again = "Run the study again; it goes on where it stopped."
    rows = read_rows(layout.rows, again)
    parts = rows.partition_by("trial", as_dict=True, maintain_order=True)
    return {str(name): columns_of(own, layout.rows, again)[1] for (name,), own in parts.items()}
